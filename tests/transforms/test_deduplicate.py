"""Every key and version once: the first of its kind is kept, equal ones are duplicates, others conflicts. In both engines."""

import pytest

from jobs.engines import InProcess, InSpark
from tests.rows import rows
from transforms.deduplicate import classify_sql, contest_sql, contested_sql, needed_sql

SCHEMA = {
    "id": "string", "a version": "bigint", "_row_hash": "string", "_file": "string", "_line": "bigint", "_rule": "string",
    "_reason": "string",
}  # fmt: skip
KNOWN = {name: SCHEMA[name] for name in ("id", "a version", "_row_hash", "_file", "_line")}
BY = ["id", "a version"]


@pytest.fixture(params=["in process", "in Spark"])
def engine(request):
    engine = InProcess(memory="100MB") if request.param == "in process" else InSpark(request.getfixturevalue("spark"))
    yield engine
    engine.close()


def given(engine, columns, *written):
    table = rows(", ".join(f"`{name}` {kind}" for name, kind in columns.items()).replace("`a version`", "`a_version`"), *written)
    batches = table.rename_columns(list(columns)).to_batches()
    return engine.made(iter, [batches], columns)


def classified(engine, new, known=None):
    """The rows with what becomes of each, in order."""
    told = {"by": BY, "quote": engine.quote}
    tables = {"new": engine.keep(new)} | ({} if known is None else {"known": engine.keep(known)})
    among = known and "{known}"
    tables["contested"] = engine.keep(engine.sql(contested_sql("{new}", among, **told), **tables))
    told["columns"] = list(SCHEMA)
    tables["contest"] = engine.keep(engine.sql(contest_sql("{new}", "{contested}", among, **told), **tables))
    text = classify_sql("{new}", "{contested}", "{contest}", **told)
    return engine.collect(f"select * from ({text}) order by _file, _line", **tables)


def classes(engine, new, known=None):
    found = classified(engine, new, known)
    assert all(list(row) == [*(name for name in SCHEMA if name[:2] != "_r" or name == "_row_hash"), "_rule", "_reason", "_class", "_again"]
               for row in found)  # fmt: skip
    return [(row["_file"], row["_line"], row["_class"], row["_rule"], row["_reason"]) for row in found]


def test_the_first_in_file_and_line_order_is_kept(engine):
    new = given(
        engine,
        SCHEMA,
        ("ann", 1, "h1", "b.csv", 2, None, None),  # the same as in a.csv, which comes first
        ("ann", 1, "h1", "a.csv", 9, None, None),
        ("ann", 1, "h1", "a.csv", 10, None, None),
        ("ann", 1, "h2", "c.csv", 1, None, None),  # other content
        ("ann", 2, "h2", "a.csv", 1, None, None),  # another version
        (None, 1, "h3", "a.csv", 2, "id.required", "id is required and empty"),
        (None, 1, "h3", "a.csv", 3, "id.required", "id is required and empty"),  # bad rows are not compared
        ("bob", None, "h4", "a.csv", 4, None, None),
        ("bob", None, "h4", "a.csv", 5, None, None),  # nulls are equal
    )
    bad = ("bad", "id.required", "id is required and empty")
    assert classes(engine, new) == [
        ("a.csv", 1, "kept", None, None),
        ("a.csv", 2, *bad),
        ("a.csv", 3, *bad),
        ("a.csv", 4, "kept", None, None),
        ("a.csv", 5, "duplicate", None, None),
        ("a.csv", 9, "kept", None, None),
        ("a.csv", 10, "duplicate", None, None),
        ("b.csv", 2, "duplicate", None, None),
        ("c.csv", 1, "conflict", "conflict", "its key and version are those of a.csv line 9, with other content"),
    ]


@pytest.mark.parametrize("few", [True, False, None])
def test_what_is_known_already_comes_first(engine, few):
    new = given(
        engine,
        SCHEMA,
        ("ann", 1, "h1", "n.csv", 1, None, None),
        ("ann", 1, "h2", "n.csv", 2, None, None),
        ("bob", None, "h1", "n.csv", 3, None, None),
        ("cat", 1, "h9", "n.csv", 4, None, None),
        ("cat", 1, "h8", "n.csv", 5, None, None),
        ("dan", 1, "h1", "n.csv", 6, "rule", "why"),
    )
    known = given(
        engine,
        KNOWN,
        ("ann", 1, "h1", "old.csv", 7),
        ("bob", None, "h1", "old.csv", 8),
        ("cat", 2, "h9", "old.csv", 9),  # another version
        ("dan", 1, "h1", "old.csv", 10),
        ("eve", 1, "h1", "old.csv", 11),
    )
    new = engine.keep(new)
    if few is not None:
        text = needed_sql("{new}", "{known}", by=BY, few=few, quote=engine.quote)
        known = engine.keep(engine.sql(text, new=new, known=known))
        assert [row["id"] for row in engine.collect("select id from {known} order by id", known=known)] == ["ann", "bob", "dan"]
    assert classes(engine, new, known) == [
        ("n.csv", 1, "duplicate", None, None),
        ("n.csv", 2, "conflict", "conflict", "its key and version are those of old.csv line 7, with other content"),
        ("n.csv", 3, "duplicate", None, None),
        ("n.csv", 4, "kept", None, None),
        ("n.csv", 5, "conflict", "conflict", "its key and version are those of n.csv line 4, with other content"),
        ("n.csv", 6, "bad", "rule", "why"),
    ]


def test_no_rows_in_no_rows_out(engine):
    assert classes(engine, given(engine, SCHEMA)) == []


def test_a_row_read_again_from_its_own_file_is_said(engine):
    """A file that changed is read once more: rows known from it are the rows themselves, not other rows like them."""
    new = given(
        engine,
        SCHEMA,
        ("ann", 1, "h1", "n.csv", 1, None, None),  # itself
        ("ann", 1, "h1", "n.csv", 9, None, None),  # its likes in that file are told in the run that knew it first
        ("ann", 1, "h1", "m.csv", 1, None, None),  # the same row in another file
        ("ann", 1, "h2", "n.csv", 2, None, None),  # other content
        ("bob", 1, "h1", "n.csv", 3, None, None),
        ("bob", 1, "h1", "n.csv", 4, None, None),  # like a row of its file that wasn't known
        ("cat", 1, "h1", "n.csv", 5, "rule", "why"),
    )
    known = given(engine, KNOWN, ("ann", 1, "h1", "n.csv", 1), ("cat", 1, "h1", "n.csv", 5))
    found = classified(engine, new, known)
    assert [(row["_file"], row["_line"], row["_class"], row["_again"]) for row in found] == [
        ("m.csv", 1, "duplicate", False),
        ("n.csv", 1, "duplicate", True),
        ("n.csv", 2, "conflict", False),
        ("n.csv", 3, "kept", False),
        ("n.csv", 4, "duplicate", False),
        ("n.csv", 5, "bad", False),
        ("n.csv", 9, "duplicate", True),
    ]
