"""A reshaping select: one line to many rows, each with the line it comes from."""

import pytest
from chispa import assert_df_equality

from conf.errors import DefinitionError
from tests.tables import table
from transforms.reshape import reshape, reshape_inputs

ONE_SELECT = "reshape: write one select over the table raw, without group by"


def test_reshape_unfolds_a_wide_row_and_keeps_its_line(spark):
    rows = table(
        spark,
        "`ID` string, `PAY.0` string, `PAY.2` string, _file string, _line bigint",
        ("1", "2", "-1", "f.csv", 2),
        ("2", "0", None, "f.csv", 3),
    )
    sql = "select ID as id, stack(2, 'sep', `PAY.0`, 'aug', `PAY.2`) as (month, status) from raw where ID <> '9'"

    assert reshape_inputs(sql) == ({"ID", "PAY.0", "PAY.2"}, False)
    expected = table(
        spark,
        "_file string, _line bigint, id string, month string, status string",
        ("f.csv", 2, "1", "sep", "2"),
        ("f.csv", 2, "1", "aug", "-1"),
        ("f.csv", 3, "2", "sep", "0"),
        ("f.csv", 3, "2", "aug", None),
    )
    assert_df_equality(reshape(rows, sql=sql), expected, ignore_nullable=True)


def test_reshape_explodes_a_json_array(spark):
    rows = table(spark, "id string, items string, _file string, _line bigint", ("a", '["x","y"]', "f", 1), ("b", "[]", "f", 2))
    sql = "select r.id, item from raw r lateral view explode(from_json(items, 'array<string>')) t as item"

    assert reshape_inputs(sql) == ({"id", "items"}, False)
    expected = table(spark, "_file string, _line bigint, id string, item string", ("f", 1, "a", "x"), ("f", 1, "a", "y"))
    assert_df_equality(reshape(rows, sql=sql), expected, ignore_nullable=True)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select 1 as id", "reshape: the select reads no table named 'raw': select 1 as id"),
        ("select sum(x) from raw group by id", f"{ONE_SELECT}: select sum(x) from raw group by id"),
        ("drop table raw", f"{ONE_SELECT}: drop table raw"),
    ],
)  # fmt: skip
def test_what_reshape_refuses(sql, told):
    with pytest.raises(DefinitionError) as problem:
        reshape_inputs(sql)
    assert str(problem.value) == told


def test_reshape_takes_every_column_by_a_star():
    assert reshape_inputs("select *, upper(id) as other from raw") == ({"id"}, True)
    assert reshape_inputs("select v from (select id, cast(x as int) as v from raw) where v > 1") == ({"id", "x"}, False)
