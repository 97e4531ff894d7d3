"""Every key and version once: the first of its kind is kept, equal ones are duplicates, others conflicts."""

import pytest
from chispa import assert_df_equality

from tests.tables import table
from transforms.deduplicate import classify

SCHEMA = (
    "id string, version bigint, _row_hash string, _file string, _line bigint, _reasons array<struct<rule:string,reason:string>>"
)
CLASSES = "_file string, _line bigint, _class string"


def test_the_first_in_file_and_line_order_is_kept(spark):
    rows = table(
        spark,
        SCHEMA,
        ("ann", 1, "h1", "b.csv", 2, []),  # the same as in a.csv, which comes first
        ("ann", 1, "h1", "a.csv", 9, []),
        ("ann", 1, "h1", "a.csv", 10, []),
        ("ann", 1, "h2", "c.csv", 1, []),  # other content
        ("ann", 2, "h2", "a.csv", 1, []),  # another version
        (None, 1, "h3", "a.csv", 2, [("id.required", "id is required and empty")]),
        (None, 1, "h3", "a.csv", 3, [("id.required", "id is required and empty")]),  # bad rows are not compared
        ("bob", None, "h4", "a.csv", 4, []),
        ("bob", None, "h4", "a.csv", 5, []),  # nulls are equal
    )

    actual = classify(rows, by=["id", "version"])

    expected = table(
        spark,
        CLASSES,
        ("b.csv", 2, "duplicate"),
        ("a.csv", 9, "kept"),
        ("a.csv", 10, "duplicate"),
        ("c.csv", 1, "conflict"),
        ("a.csv", 1, "kept"),
        ("a.csv", 2, "bad"),
        ("a.csv", 3, "bad"),
        ("a.csv", 4, "kept"),
        ("a.csv", 5, "duplicate"),
    )
    assert_df_equality(actual.select("_file", "_line", "_class"), expected, ignore_row_order=True, ignore_nullable=True)
    conflict = actual.where("_class = 'conflict'").select("_reasons").first()[0]
    assert [tuple(reason) for reason in conflict] == [
        ("conflict", "its key and version are those of a.csv line 9, with other content")
    ]


@pytest.mark.parametrize("few", [True, False])
def test_what_is_known_already_comes_first(spark, few):
    rows = table(
        spark,
        SCHEMA,
        ("ann", 1, "h1", "n.csv", 1, []),
        ("ann", 1, "h2", "n.csv", 2, []),
        ("bob", None, "h1", "n.csv", 3, []),
        ("cat", 1, "h9", "n.csv", 4, []),
        ("cat", 1, "h8", "n.csv", 5, []),
        ("dan", 1, "h1", "n.csv", 6, [("rule", "why")]),
    )
    known = table(
        spark,
        "id string, version bigint, _row_hash string, _file string, _line bigint",
        ("ann", 1, "h1", "old.csv", 7),
        ("bob", None, "h1", "old.csv", 8),
        ("cat", 2, "h9", "old.csv", 9),  # another version
        ("dan", 1, "h1", "old.csv", 10),
        ("eve", 1, "h1", "old.csv", 11),
    )

    actual = classify(rows, by=["id", "version"], known=known, few=few)

    expected = table(
        spark,
        f"{CLASSES}, told string",
        ("n.csv", 1, "duplicate", None),
        ("n.csv", 2, "conflict", "its key and version are those of old.csv line 7, with other content"),
        ("n.csv", 3, "duplicate", None),
        ("n.csv", 4, "kept", None),
        ("n.csv", 5, "conflict", "its key and version are those of n.csv line 4, with other content"),
        ("n.csv", 6, "bad", "why"),
    )
    told = actual.selectExpr("_file", "_line", "_class", "get(_reasons, 0).reason as told")
    assert_df_equality(told, expected, ignore_row_order=True, ignore_nullable=True)
    assert actual.columns == [*rows.columns, "_class"]


def test_no_rows_in_no_rows_out(spark):
    assert classify(table(spark, SCHEMA), by=["id"]).collect() == []
