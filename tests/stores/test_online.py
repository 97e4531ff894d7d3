"""The online writer against the embedded server, on good days and bad ones."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, HTTPClientError, ReadTimeoutError

from conf.errors import PublishError
from stores.aws import FeatureStoreAddress
from stores.embedded.faults import Faults
from stores.embedded.local import LocalFeatureStore
from stores.feature_groups import WantedFeatureGroup, ensure_feature_group
from stores.online import OnlineConfig, SageMakerOnlineStore, write_batches
from stores.protocols import FeatureDefinition, FeatureType, Record, WriteOutcome

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FEATURES: dict[str, FeatureType] = {"id": "String", "at": "String", "count": "Integral", "share": "Fractional"}
NOON, ONE = "2025-06-01T12:00:00Z", "2025-06-01T13:00:00Z"


@contextmanager
def online_store(folder: Path, **faults: Any) -> Iterator[OnlineConfig]:
    """A server with the group `people`, and the configuration of a writer that doesn't wait long between tries."""
    with LocalFeatureStore(folder, faults=Faults(**faults)) as store:
        address = FeatureStoreAddress(store.endpoint, store.region)
        definitions = tuple(FeatureDefinition(name, kind) for name, kind in FEATURES.items())
        ensure_feature_group(address.control_plane(), WantedFeatureGroup("people", "id", "at", definitions))
        yield OnlineConfig(address, concurrency=4, longest_pause=0.001)


def batches(*rows: tuple[Any, Any, Any, Any]) -> Iterator[pa.RecordBatch]:
    types = {"id": pa.string(), "at": pa.string(), "count": pa.int64(), "share": pa.float64()}
    columns = zip(*rows, strict=True)
    yield pa.record_batch({name: pa.array(values, types[name]) for name, values in zip(types, columns, strict=True)})


def people(count: int, *, at: str = NOON) -> Iterator[pa.RecordBatch]:
    return batches(*((f"{n:04d}", at, n, n / 8) for n in range(count)))


def write(rows: Iterator[pa.RecordBatch], config: OnlineConfig, **options: Any) -> WriteOutcome:
    outcome = write_batches(
        rows, group="people", record_identifier="id", event_time="at", features=FEATURES, config=config, **options
    )
    assert outcome.sent == outcome.written + outcome.skipped + outcome.dead
    return outcome


def read(config: OnlineConfig, count: int) -> list[dict[str, str]]:
    return SageMakerOnlineStore(config).get_records("people", [f"{n:04d}" for n in range(count)])


def expected(count: int) -> list[dict[str, str]]:
    return [{"id": f"{n:04d}", "at": NOON, "count": str(n), "share": repr(n / 8)} for n in range(count)]


def test_every_row_is_written_and_reads_back(tmp_path: Path) -> None:
    with online_store(tmp_path) as config:
        assert write(people(260), config) == WriteOutcome(sent=260, written=260)
        assert read(config, 261) == expected(260)  # in the order asked for; the unknown one is absent
        assert write(people(260), config) == WriteOutcome(sent=260, written=260)  # a task that runs again is harmless
        assert read(config, 260) == expected(260)


def test_an_older_record_is_accepted_and_changes_nothing(tmp_path: Path) -> None:
    with online_store(tmp_path) as config:
        write(batches(("0000", ONE, 1, 0.5)), config)
        write(batches(("0000", NOON, 2, None)), config)
        assert read(config, 1) == [{"id": "0000", "at": ONE, "count": "1", "share": "0.5"}]
        write(batches(("0000", ONE, 3, None)), config)  # equal: replaces, and what is null is gone
        assert read(config, 1) == [{"id": "0000", "at": ONE, "count": "3"}]


def test_rows_marked_as_unchanged_are_skipped(tmp_path: Path) -> None:
    with online_store(tmp_path) as config:
        batch = next(people(3)).append_column("unchanged", pa.array([True, None, False]))
        assert write(iter([batch]), config, skip="unchanged") == WriteOutcome(sent=3, written=2, skipped=1)
        assert read(config, 3) == expected(3)[1:]


def test_no_rows_are_no_calls(tmp_path: Path) -> None:
    nowhere = OnlineConfig(FeatureStoreAddress("http://127.0.0.1:9", "eu-west-1"))
    assert write(iter([]), nowhere) == WriteOutcome()


@pytest.mark.parametrize(
    "faults",
    [
        {"unavailable": 0.3},
        {"cut": 0.3},
        {"unavailable": 0.1, "throttled": 0.1, "not_found": 0.1, "cut": 0.1, "unprocessed": 0.1},
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("use_batch_write", [True, False], ids=["batch", "put"])
def test_on_a_bad_day_every_row_arrives(tmp_path: Path, faults: dict[str, float], use_batch_write: bool) -> None:
    with online_store(tmp_path, **faults) as config:
        config = replace(config, tries=50, use_batch_write=use_batch_write)
        outcome = write(people(200), config)
        assert (outcome.written, outcome.dead_letters) == (200, ())
        assert read(config, 200) == expected(200)


@pytest.mark.parametrize("broken", [ConnectionClosedError, EndpointConnectionError, ReadTimeoutError])
@pytest.mark.parametrize("use_batch_write", [True, False], ids=["batch", "put"])
def test_what_a_broken_connection_took_along_is_sent_again(
    tmp_path: Path, broken: type[HTTPClientError], use_batch_write: bool
) -> None:
    failures = [1, 3, 4]

    def fail(**_: object) -> None:
        attempts.append(1)
        if len(attempts) in failures:
            raise broken(endpoint_url="http://127.0.0.1", error="broken on purpose")

    attempts: list[int] = []
    with online_store(tmp_path) as config:
        config = replace(config, use_batch_write=use_batch_write)
        client = config.address.runtime(attempts=1)
        client.meta.events.register("before-send.sagemaker-featurestore-runtime", fail)
        records = [Record(f"{n:04d}", NOON, {"id": f"{n:04d}", "at": NOON}) for n in range(60)]
        outcome = SageMakerOnlineStore(config, client=client).put_batch("people", records)
        assert (outcome.written, outcome.dead) == (60, 0)
        assert outcome.retried >= len(failures)
        assert len(read(config, 60)) == 60


def test_access_denied_fails_the_task_at_once(tmp_path: Path) -> None:
    with online_store(tmp_path) as config:
        client = config.address.runtime(attempts=1)
        refusal = AWSResponse("http://127.0.0.1", 403, {"x-amzn-errortype": "AccessForbidden"}, RawAnswer())
        client.meta.events.register("before-send.sagemaker-featurestore-runtime", lambda **_: refusal)
        with pytest.raises(PublishError, match=r"^people: not allowed to write online records: AccessForbidden: no;"):
            SageMakerOnlineStore(config, client=client).put_batch("people", [Record("ann", NOON, {"id": "ann"})])


def test_it_writes_from_spark_s_workers(tmp_path: Path, spark: SparkSession) -> None:
    """Each task makes its own client from the pickled config, and tells what became of its rows."""
    with online_store(tmp_path) as config:

        def publish(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            outcome = write(rows, config)
            yield pa.record_batch({"sent": [outcome.sent], "written": [outcome.written], "dead": [outcome.dead]})

        moment = "timestamp'2025-06-01 12:00:00'"
        frame = spark.range(100, numPartitions=2).selectExpr(
            "lpad(cast(id as string), 4, '0') id", f"{moment} at", "id count", "if(id = 99, double('nan'), id / 8) share"
        )
        told = frame.mapInArrow(publish, "sent long, written long, dead long").collect()
        assert sorted(tuple(row) for row in told) == [(50, 49, 1), (50, 50, 0)]
        assert read(config, 100) == expected(99)


class RawAnswer:
    """The body of an HTTP answer, as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield b'{"Message": "no"}'


@pytest.mark.parametrize("use_batch_write", [True, False], ids=["batch", "put"])
def test_rows_that_can_t_be_written_are_dead_letters_and_the_rest_arrives(tmp_path: Path, use_batch_write: bool) -> None:
    with online_store(tmp_path) as config:
        rows = batches(
            ("0000", NOON, 0, 0.0),
            ("0001", NOON, 1, float("nan")),  # found before it is sent
            (None, NOON, 2, 0.25),
            ("0003", "noon", 3, 0.375),  # refused by the store
        )
        outcome = write(rows, replace(config, use_batch_write=use_batch_write))
        assert (outcome.sent, outcome.written, outcome.dead) == (4, 1, 3)
        assert {(letter.identifier, letter.code, letter.message) for letter in outcome.dead_letters} == {
            ("0001", "Unwritable", "share: nan is not a number that the Feature Store holds"),
            (None, "Unwritable", "id: the record identifier is null"),
            (
                "0003",
                "ValidationError",
                "Validation Error: EventTime 'noon' is not ISO-8601 in UTC, such as 2025-06-30T16:00:00Z",
            ),
        }
        assert read(config, 4) == expected(1)


def test_what_is_never_taken_is_given_up_and_counted(tmp_path: Path) -> None:
    with online_store(tmp_path, unprocessed=1.0) as config:
        outcome = write(people(30), replace(config, tries=3))
        assert (outcome.sent, outcome.written, outcome.retried, outcome.dead) == (30, 0, 60, 30)
        assert {letter.code for letter in outcome.dead_letters} == {"Unprocessed"}


def test_a_store_that_is_down_fails_the_task_instead_of_making_millions_of_dead_letters(tmp_path: Path) -> None:
    with online_store(tmp_path, unavailable=1.0) as config:
        config = replace(config, concurrency=1, tries=2)
        with pytest.raises(PublishError, match=r"^people: the online store takes nothing, after 2 tries a record;"):
            write(people(200), config)
        with pytest.raises(PublishError, match=r"^people: 1 records could not be read, the last reason: ServiceUnavail"):
            read(config, 1)


def test_too_many_dead_letters_fail_the_task(tmp_path: Path) -> None:
    with online_store(tmp_path) as config:
        rows = batches(*((f"{n:04d}", NOON, n, float("inf")) for n in range(3)))
        with pytest.raises(PublishError) as failure:
            write(rows, replace(config, most_dead_letters=2))
    assert str(failure.value) == (
        "people: more than 2 records could not be written online, the last one (0002) because of Unwritable:"
        " share: inf is not a number that the Feature Store holds"
    )


def test_two_entries_with_the_same_content_are_counted_apart(tmp_path: Path) -> None:
    with online_store(tmp_path, unprocessed=0.5) as config:
        outcome = write(batches(*[("0000", NOON, 0, 0.0)] * 20), replace(config, tries=1))
        assert 0 < outcome.dead < 20
        assert read(config, 1) == expected(1)


def test_reading_an_unknown_group_says_so(tmp_path: Path) -> None:
    with online_store(tmp_path) as config, pytest.raises(PublishError, match=r"^nobody: .* with name nobody"):
        SageMakerOnlineStore(replace(config, tries=1)).get_records("nobody", ["ann"])


def test_the_rate_limit_holds_over_all_threads(tmp_path: Path) -> None:
    """100 records at 50 a second: the first 50 at once, the rest is paid for with a second of waiting."""
    waited: list[float] = []
    with online_store(tmp_path) as config:
        config = replace(config, concurrency=1, records_per_second=50.0)
        store = SageMakerOnlineStore(config, sleep=waited.append, clock=lambda: 0.0)
        records = [Record(f"{n:04d}", NOON, {"id": f"{n:04d}", "at": NOON}) for n in range(100)]
        assert store.put_batch("people", records).written == 100
    assert waited == [0.5, 1.0]


def test_a_config_travels_to_workers_without_credentials() -> None:
    config = OnlineConfig(FeatureStoreAddress("http://127.0.0.1:9", "eu-west-1"))
    assert pickle.loads(pickle.dumps(config)) == config
    assert b"local" not in pickle.dumps(config).replace(b"localhost", b"")
