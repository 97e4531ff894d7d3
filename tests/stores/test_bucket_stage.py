"""Rows come in any order and leave by bucket, whatever fits memory."""

import random

import pyarrow as pa
import pytest

from conf.errors import EnvironmentProblem
from stores.bucket_stage import WAITING, BucketStage


def tables(chance, count):
    """Tables with few rows, each sorted by its bucket; and the rows of each bucket, as they come."""
    whole: dict[int, list] = {}
    made = []
    for number in range(count):
        rows = sorted(
            ({"bucket": chance.randrange(4), "text": f"{number} \u00e9", "at": place} for place in range(chance.randrange(5))),
            key=lambda row: row["bucket"],
        )
        schema = pa.schema([("bucket", pa.int32()), ("text", pa.string()), ("at", pa.int64())])
        made.append(pa.Table.from_pylist(rows, schema))
        for row in rows:
            whole.setdefault(row.pop("bucket"), []).append(row)
    return made, whole


@pytest.mark.parametrize("most_rows", [0, 3, 1000])
def test_each_bucket_has_its_rows_as_they_came(tmp_path, most_rows):
    made, whole = tables(random.Random(3), 40)
    stage = BucketStage(tmp_path, most_rows)
    for table in made:
        stage.add(table)
    found = [(bucket, rows.to_pylist()) for bucket, rows in stage.buckets()]
    assert (tmp_path / WAITING).exists() == (most_rows < 1000)
    assert found == sorted(whole.items())


def test_without_rows_there_is_no_bucket(tmp_path):
    assert list(BucketStage(tmp_path, 10).buckets()) == []


def test_a_full_disk_is_told(tmp_path):
    (tmp_path / WAITING).symlink_to("/dev/full")
    made, _ = tables(random.Random(3), 40)
    stage = BucketStage(tmp_path, 0)
    with pytest.raises(EnvironmentProblem, match=r"the disk is full.*let TMPDIR name another"):
        for table in made:
            stage.add(table)
