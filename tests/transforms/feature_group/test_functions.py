"""Groups that a Python function makes: found and hashed without being run, and what wrong ones say."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from tests.transforms.feature_group.given import compiled, problem

GROUP = """\
name: g
record_identifier: customer_id
owner: research
function: features_of_ours.communities:community
reads: {sources: [transactions], groups: [h]}
columns:
  community_size: integer
  community_share: {type: number, description: share of the community, null_when: nobody is near, scoring: forbidden, online: false}
"""
OTHER = """\
name: h
record_identifier: customer_id
spine: customers
inputs:
  - source: payments
    aggregates: [{name: n, op: count}]
"""
CODE = '''\
raise RuntimeError("compiling a definition runs no code of the module")


def community(frames, as_of, cut_off):
    """Who deals with whom."""
    return frames["transactions"]
'''


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the function, which must not be run."""
    package = tmp_path / "features_of_ours"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "communities.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "features_of_ours", raising=False)
    return package / "communities.py"


def test_a_function_group_says_what_it_reads_and_gives():
    made = compiled(GROUP, OTHER)
    assert list(made.groups) == ["h"]
    found = made.functions["g"]
    assert (found.module, found.function, found.entity) == ("features_of_ours.communities", "community", "customer_id")
    assert (found.sources, found.groups) == (("transactions",), ("h",))
    told = [(c.name, c.type, c.words, c.null_when, c.online, c.scoring) for c in found.columns]
    assert told == [
        ("community_size", "integer", "community size", "the function gives none", True, "allowed"),
        ("community_share", "number", "share of the community", "nobody is near", False, "forbidden"),
    ]


def test_a_module_in_a_zip_is_the_same_one(module, tmp_path, monkeypatch):
    before = compiled(GROUP, OTHER).functions["g"]
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in ("__init__.py", "communities.py"):
            packed.write(module.parent / file, f"features_of_ours/{file}")
    shutil.rmtree(module.parent)
    monkeypatch.delitem(sys.modules, "features_of_ours")
    monkeypatch.syspath_prepend(archive)
    assert compiled(GROUP, OTHER).functions["g"] == before


def test_the_version_is_the_code_without_its_layout(module):
    before = compiled(GROUP, OTHER).functions["g"].version
    module.write_text(CODE.replace('frames["transactions"]', "frames [ 'transactions' ]  # all of them"))
    assert compiled(GROUP, OTHER).functions["g"].version == before
    module.write_text(CODE.replace('frames["transactions"]', 'frames["transactions"].limit(1)'))
    assert compiled(GROUP, OTHER).functions["g"].version != before


@pytest.mark.parametrize(
    ("written", "instead", "same"),
    [
        ("owner: research", "owner: others", True),
        ("share of the community", "other words", True),
        ("community_size: integer", "community_size: number", False),
        ("sources: [transactions]", "sources: [transactions, fees]", False),
        ("groups: [h]", "groups: []", False),
    ],
)  # fmt: skip
def test_the_version_is_what_is_read_and_given(written, instead, same):
    changed = compiled(GROUP.replace(written, instead), OTHER).functions["g"].version
    assert (changed == compiled(GROUP, OTHER).functions["g"].version) is same


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("communities:community", "communities.community", "g.yaml:4: 'features_of_ours.communities.community' is not a function; write"
         " package.module:name"),
        ("features_of_ours.communities", "features_of_ours.comunities", "g.yaml:4: no module named 'features_of_ours.comunities'; it must be on"
         " Python's path"),
        ("features_of_ours.communities", "features_of_yours.communities", "g.yaml:4: no module named 'features_of_yours', of"
         " 'features_of_yours.communities'; it must be on Python's path"),
        (":community", ":comunity", "g.yaml:4: 'features_of_ours.communities' has no function 'comunity' (did you mean 'community'?); functions:"
         " community"),
        ("features_of_ours.communities:community", "math:sqrt", "g.yaml:4: 'math' has no Python source to read 'sqrt' from"),
        ("community_size: integer", "is_deleted: integer", "g.yaml:7: 'is_deleted' is reserved by the Feature Store; reserved:"
         " api_invocation_time, day, hour, is_deleted, month, temp_event_time_col, write_time, year"),
        ("community_size: integer", "customer_id: string", "g.yaml:7: column 'customer_id' is there already; choose another name"),
        (
            "community_size: integer",
            "Customer_ID: string",
            "g.yaml:7: column 'Customer_ID' is 'customer_id' but for upper and lower case, which SQL engines don't tell apart; "
            "choose another name",
        ),
        ("community_size: integer", "community_size: int", "g.yaml:7: 'int' is not one of 'string', 'integer', 'number', 'money', 'boolean', 'date'"
         " or 'timestamp'"),
        ("reads: {sources: [transactions], groups: [h]}\n", "", "g.yaml:1: a group with a `function` needs `reads`: the sources and groups that the"
         " function is given"),
        ("owner: research", "spine: customers", "g.yaml:1: `function` takes the place of `spine`, `inputs`, `derived` and `blank_unless`"),
        (GROUP[GROUP.index("columns:"):], "", "g.yaml:1: a group with a `function` needs `columns`: the names and types that it gives"),
        ("function: features_of_ours.communities:community", "spine: customers", "g.yaml:1: `reads` and `columns` go with `function`; a group"
         " without one has `inputs` and `derived`"),
        ("scoring: forbidden", "scorin: forbidden", "g.yaml:8: unknown key 'scorin' (did you mean 'scoring'?); known: type, description,"
         " null_when, online, scoring"),
    ],
)  # fmt: skip
def test_a_wrong_function_group(written, instead, message):
    assert written in GROUP
    assert problem(GROUP.replace(written, instead), OTHER) == message


def test_an_expression_can_not_use_what_a_function_gives():
    using = OTHER + "derived: [{name: d, expr: community_size + 1}]\n"
    assert problem(GROUP, using) == (
        "h.yaml:7: 'community_size' is a column of g, which a function makes after the others; give the function what it needs"
        " (`reads: {groups: …}`) instead"
    )
