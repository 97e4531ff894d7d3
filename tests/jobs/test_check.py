"""`etr check`: what it says of right definitions, of examples that fail, and of what is wrong; without Spark and Java."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conf.catalogue import load_catalogue
from jobs import check
from tests.jobs.test_features import folder
from tests.transforms.test_meaning import GROUP

EXAMPLES = """\
examples:
  - as_of: 2025-06-30
    description: One order of today, which is open
    orders: [{order_id: a, customer_id: ann, ordered_at: 2025-06-30T00:00:00+08:00, shop: a}]
    expect:
      ann: {order_count_7d: 1, order_count_shop_a_7d: 1, order_count_shop_other_7d: 0}
      bob: null
  - days:
      2025-06-29: {ann: null}
      2025-06-30: {ann: {open_count: 1}}
      2025-07-01: {ann: {open_count: 0, order_count_7d: 1}}
    orders: [{order_id: a, customer_id: ann, ordered_at: 2025-06-30T00:00:00+08:00, paid_at: 2025-07-01T00:00:00+08:00}]
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], dict, str]:
    """Exit code, lines before the summary, the summary, stderr."""
    code = check.main(arguments)
    out, err = capsys.readouterr()
    *lines, last = out.splitlines()
    return code, lines, json.loads(last), err


def test_right_definitions(tmp_path, capsys):
    code, lines, summary, err = run(capsys, "--conf", str(folder(tmp_path, GROUP + EXAMPLES)))
    assert (code, err, summary["status"], summary["examples"], summary["failed"]) == (0, "", "succeeded", 2, 0)
    assert summary["counts"] == {"sources": 1, "groups": 1, "training_sets": 0, "examples": 2, "failed": 0}
    assert summary["tables"] == {"g": {"examples": 2, "failed": 0}}
    assert lines == ["the definitions are right: 1 source, 1 group, no training sets", "g: 2 examples, as expected"]


def test_an_example_that_fails_is_shown_side_by_side(tmp_path, capsys):
    """The formula was changed, the example was not."""
    wrong = (GROUP + EXAMPLES).replace("[a, other]", "[b, other]").replace("order_count_shop_a_7d", "order_count_shop_b_7d")
    code, lines, summary, _ = run(capsys, "--conf", str(folder(tmp_path, wrong)))
    assert (code, summary["status"], summary["examples"], summary["failed"]) == (1, "failed", 2, 1)
    assert summary["error"] == "1 of 2 examples failed"
    assert lines == [
        "the definitions are right: 1 source, 1 group, no training sets",
        "g.yaml:16: example 1 of g failed: One order of today, which is open",
        "  given, orders:",
        "    order_id  customer_id  ordered_at                 shop",
        "    a         ann          2025-06-30T00:00:00+08:00  a",
        "  as of 2025-06-30:",
        "                                   expected  got",
        "    ann order_count_7d             1         1",
        "    ann order_count_shop_b_7d      1         0       <- g.yaml:20",
        "    ann order_count_shop_other_7d  0         1       <- g.yaml:20",
        "    bob                            no row    no row",
        "",
        "g: 2 examples, 1 failed",
    ]


def test_what_is_wrong_is_told_before_anything_runs(tmp_path, capsys):
    wrong = (GROUP + EXAMPLES).replace("op: sum", "op: summ")
    code, lines, summary, err = run(capsys, "--conf", str(folder(tmp_path, wrong)))
    assert (code, lines, summary["status"]) == (2, [], "failed")
    assert err.startswith("g.yaml:9: no operation named 'summ' (did you mean 'sum'?); known: ")
    code, lines, _, err = run(capsys, "--conf", str(folder(tmp_path, (GROUP + EXAMPLES).replace("{open_count", "{opened_count"))))
    assert (code, lines) == (2, [])
    assert err == (
        "g.yaml:24: 'g' publishes no column 'opened_count' (did you mean 'open_count'?)\n"
        "g.yaml:25: 'g' publishes no column 'opened_count' (did you mean 'open_count'?)\n"
    )


def test_training_sets_are_looked_at_with_the_examples(tmp_path, capsys):
    conf = folder(tmp_path, (GROUP + EXAMPLES).replace("{open_count: 1}", "{open_count: one}"))
    (conf / "training_sets").mkdir()
    (conf / "training_sets" / "t.yaml").write_text("name: t\nrecord_identifier: customer_id\nfeatures: {g: [nothing]}\n")
    code, _, _, err = run(capsys, "--conf", str(conf))
    assert code == 2
    assert [line.split(": ")[0] for line in err.splitlines()] == ["t.yaml:3", "g.yaml:24"]


def test_only_the_groups_that_are_asked_for_run(tmp_path, capsys):
    conf = folder(tmp_path, GROUP + EXAMPLES)
    (conf / "feature_groups" / "h.yaml").write_text(GROUP.replace("name: g", "name: h"))
    _, lines, summary, _ = run(capsys, "--conf", str(conf), "--groups", "h")
    assert (lines[1:], summary["examples"]) == (["h: no examples"], 0)
    code, _, _, err = run(capsys, "--conf", str(conf), "--groups", "i")
    assert (code, err) == (2, "no feature group named 'i'; known: g, h\n")


@pytest.mark.parametrize(
    "conf", [[], ["--conf", "examples/uci_card"], ["--conf", "examples/superlender"]], ids=["shipped", "uci", "superlender"]
)
def test_what_is_shipped_comes_out_as_its_examples_say(capsys, conf):
    code, lines, _, err = run(capsys, *conf)
    assert (code, err) == (0, ""), "\n".join(lines)


def test_every_shipped_group_has_examples_of_nothing_of_edges_of_what_is_late_and_of_nulls():
    """A description says which: `empty: a customer without a plan`."""
    kinds = {
        name: {example.description.partition(":")[0] for example in group.examples}
        for name, group in load_catalogue().groups.items()
    }
    assert {name: {"empty", "edge", "late", "null"} - found for name, found in kinds.items()} == {name: set() for name in kinds}


def test_the_example_of_the_documentation_holds(tmp_path, capsys):
    """In docs/definitions.md, of the group that it shows first."""
    page = Path("docs/definitions.md").read_text()
    [block] = re.findall(r"```yaml\n(examples:\n.*?)```", page, re.DOTALL)
    group = next(text for text in re.findall(r"```yaml\n(name:.*?)```", page, re.DOTALL) if "record_identifier:" in text)
    shutil.copytree("conf/sources", tmp_path / "sources")
    (tmp_path / "feature_groups").mkdir()
    (tmp_path / "feature_groups" / "customer_bnpl.yaml").write_text(group + block)
    code, lines, summary, err = run(capsys, "--conf", str(tmp_path))
    assert (code, err, summary["examples"]) == (0, "", 1), "\n".join(lines)


def test_no_spark_is_loaded(tmp_path):
    conf = folder(tmp_path, GROUP + EXAMPLES)
    script = f"import sys; from jobs import check; code = check.main(['--conf', {str(conf)!r}]); sys.exit(code or 'pyspark' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, env={"PATH": "", "PYTHONPATH": str(Path.cwd())}
    )
    assert done.returncode == 0, done.stderr.decode()
