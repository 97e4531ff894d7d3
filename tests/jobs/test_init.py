"""`etr init`: what is drafted from a file loads as a source, and says what to look at."""

from __future__ import annotations

import gzip
import json
import re

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from conf.errors import InputError
from conf.specs import Source
from conf.yaml_file import load_model, parse_yaml
from jobs import init
from jobs.draft import draft_source

ORDERS = """\
order_id,customer_id,created_at,recorded_at,settled_at,amount,channel,is_gift,due_date,phone,national_id
o1,ann,2025-01-01T10:00:00+08:00,2025-01-01T10:01:00+08:00,,120.50,web,true,2025-02-01,0123,900101-01-1234
o2,ann,2025-01-02T10:00:00+08:00,2025-01-02T10:01:00+08:00,2025-01-05T00:00:00+08:00,80,web,false,2025-02-02,0123,900101-01-1234
"""


def drafted(text: str, name: str) -> Source:
    return load_model(Source, parse_yaml(text, name))


def test_a_csv_file(tmp_path):
    path = tmp_path / "Orders 2025.csv"
    path.write_text(ORDERS)
    draft = draft_source(path)
    source = drafted(draft.yaml, "orders.yaml")
    assert (source.name, source.format, source.location) == ("orders_2025", "csv", "Orders 2025.csv")
    assert (source.key, source.event_time.column, source.known_time.column) == (("order_id",), "created_at", "recorded_at")
    assert list(source.mutable) == ["settled_at"]
    assert {name: column.type for name, column in source.columns.items()} == {
        "order_id": "string", "customer_id": "string", "created_at": "timestamp", "recorded_at": "timestamp",
        "settled_at": "timestamp", "amount": "money", "channel": "string", "is_gift": "boolean", "due_date": "date",
        "phone": "integer", "national_id": "string",
    } | {"phone": "string"}  # fmt: skip
    assert (source.columns["phone"].personal, source.columns["national_id"].personal) == ("drop", "hmac")
    assert "looks like personal data: phone (drop), national_id (hmac)" in draft.to_review


def test_json_lines_parquet_and_gzip_say_the_same(tmp_path):
    rows = [{"id": n, "day": f"2025-01-0{n}", "balance": f"{n}.25"} for n in range(1, 4)]
    (tmp_path / "balances.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "balances.parquet")
    with gzip.open(tmp_path / "balances.csv.gz", "wt") as stream:
        stream.write("id;day;balance\n" + "".join(f"{r['id']};{r['day']};{r['balance']}\n" for r in rows))
    found = [drafted(draft_source(tmp_path / f"balances.{end}").yaml, "b") for end in ("jsonl", "parquet", "csv.gz")]
    assert [source.format for source in found] == ["jsonl", "parquet", "csv"]
    assert found[2].delimiter == ";"
    assert {str(source.event_time.of_date) for source in found} == {"start_of_day"}
    assert len({json.dumps({n: c.type for n, c in source.columns.items()}) for source in found}) == 1


def test_a_pair_of_columns_can_be_the_key(tmp_path):
    path = tmp_path / "conduct.csv"
    path.write_text("account_id,month,arrears\na,2025-01-01,0\na,2025-02-01,1\nb,2025-01-01,0\n")
    assert drafted(draft_source(path).yaml, "c").key == ("account_id", "month")


@pytest.mark.parametrize("content", ["", "a,b\n"])
def test_a_file_without_rows(tmp_path, content):
    path = tmp_path / "empty.csv"
    path.write_text(content)
    with pytest.raises(InputError) as problem:
        draft_source(path)
    assert str(problem.value) == "empty.csv: no rows to draft from; give a file with a header and at least one row"


def test_the_command_writes_a_definition_once(tmp_path, capsys):
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    assert init.main([str(path), "--to", str(tmp_path / "my_conf")]) == 0
    written = tmp_path / "my_conf" / "sources" / "orders.yaml"
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", written.read_text().splitlines()[0])
    schema = json.loads((written.parent / named[1]).read_text())
    jsonschema.validate(yaml.safe_load(written.read_text()), schema)
    assert init.main([str(path), "--to", str(tmp_path / "my_conf")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert init.main([str(tmp_path / "nothing.csv")]) == 2
