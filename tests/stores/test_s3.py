"""S3 beyond what every storage does: what is sent, what a lost answer means, tables and leases in a bucket."""

from __future__ import annotations

import io
import pickle
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError

from conf.errors import EnvironmentProblem, LeaseError, UsageError
from conf.settings import S3Settings
from stores import s3, s3_streams
from stores.curated_files import PARTITION, commit_curated, write_curated
from stores.delta import open_delta
from stores.lake import Lake
from stores.lease import Lease, hold
from stores.parquet_dataset import parquet_dataset
from stores.storage import open_storage

SCHEMA = pa.schema([("id", pa.string()), ("amount", pa.int64()), (PARTITION, pa.string())])


@pytest.fixture
def storage(bucket, s3_settings):
    return open_storage(f"s3://{bucket}/root", s3_settings)


@pytest.fixture
def client(s3_settings):
    return boto3.client("s3", endpoint_url=s3_settings.endpoint, region_name=s3_settings.region)


@pytest.fixture
def calls(storage, s3_settings):
    """The names of the calls that are made from now on."""
    made: list[str] = []
    s3.client_of(s3_settings).meta.events.register("before-call.s3", lambda model, **_: made.append(model.name))
    yield made
    s3.forget_clients()


@pytest.fixture
def small_reads(monkeypatch):
    for name in ("END_BYTES", "LEAST_BYTES"):
        monkeypatch.setattr(s3_streams, name, 1000)
    monkeypatch.setattr(s3_streams, "MOST_BYTES", 4000)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 54_321])
def test_a_stream_reads_as_a_file_does(storage, small_reads, size):
    content = bytes(number % 251 for number in range(size))
    storage.write("a", content)
    stream, file = storage.open_input("a"), io.BytesIO(content)
    for seek, whence, length in ((0, 0, 10), (5, 1, 3), (-40, 2, 90), (300, 0, 5000), (20_000, 0, -1), (2**20, 0, 1)):
        if whence == 2 and size < 40:
            continue
        assert stream.seek(seek, whence) == file.seek(seek, whence)
        assert stream.read(length) == file.read(length)
        assert stream.tell() == file.tell()


def test_a_small_file_is_one_call_and_a_large_one_is_read_ahead(storage, small_reads, calls):
    storage.write("small", b"1" * 900)
    storage.write("large", b"1" * 100_000)
    del calls[:]

    assert len(storage.open_input("small").read()) == 900
    assert calls == ["GetObject"]

    del calls[:]
    stream = storage.open_input("large")
    assert sum(len(piece) for piece in iter(lambda: stream.read(100), b"")) == 100_000
    assert len(calls) < 30  # of a thousand reads


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(storage, small_reads):
    storage.write("a", b"1" * 9000)
    stream = storage.open_input("a")
    storage.write("a", b"2" * 9000)

    with pytest.raises(OSError, match=r"^s3://\S+/root/a was replaced while it was read; run again$"):
        stream.read(9000)


def test_a_large_file_goes_in_parts_and_appears_as_a_whole(storage, client, bucket, monkeypatch):
    monkeypatch.setattr(s3_streams, "PART_BYTES", 5 * 2**20)  # S3 takes no smaller ones
    with storage.open_output("a") as stream:
        for _ in range(11):
            stream.write(b"x" * 2**20)
        assert storage.stat("a") is None
        assert stream.tell() == 11 * 2**20

    assert storage.stat("a").size == 11 * 2**20
    assert "-3" in client.head_object(Bucket=bucket, Key="root/a")["ETag"]  # three parts
    assert storage.read("a") == b"x" * 11 * 2**20


def test_parts_of_a_write_that_fails_are_removed(storage, client, bucket, monkeypatch):
    monkeypatch.setattr(s3_streams, "PART_BYTES", 2**20)
    with pytest.raises(KeyError), storage.open_output("a") as stream:
        stream.write(b"x" * 2**20)
        assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
        raise KeyError

    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    assert storage.exists("a") is False


def test_a_folder_goes_with_the_parts_that_a_killed_writer_sent(storage, client, bucket):
    for path in ("a/b", "a/c/d", "ab"):
        storage.write(path, b"1")
    client.create_multipart_upload(Bucket=bucket, Key="root/a/e")
    client.create_multipart_upload(Bucket=bucket, Key="root/b/e")

    storage.delete_folder("a")
    storage.delete_folder("a")

    assert [file.path for file in storage.list()] == ["ab"]
    assert [upload["Key"] for upload in client.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["root/b/e"]


def test_what_is_written_is_encrypted_with_the_key(bucket, s3_settings, client, monkeypatch):
    monkeypatch.setattr(s3_streams, "PART_BYTES", 5 * 2**20)
    storage = open_storage(f"s3://{bucket}", s3_settings.model_copy(update={"kms_key": "alias/etr"}))
    storage.write("a", b"1")
    storage.write_if_absent("b", b"1")
    with storage.open_output("c") as stream:
        stream.write(b"1" * 6 * 2**20)
    files = write_curated(rows("x"), storage=storage, folder="t", schema=SCHEMA, run_id="r")
    commit_curated(storage, "t", files, SCHEMA, {})

    for key in [file.path for file in storage.list()]:
        told = client.head_object(Bucket=bucket, Key=key)
        assert (told["ServerSideEncryption"], told["SSEKMSKeyId"].split("/", 1)[-1]) == (
            "aws:kms",
            "alias/etr".split("/", 1)[-1],
        ), key


def test_of_a_write_whose_answer_was_lost_the_writer_is_first_all_the_same(storage, s3_settings, monkeypatch):
    """The server took the object; the answer was an error, and the repeated call finds the object there."""
    lost = []

    def lose(request, **_):
        """Let the first put through, by a client of its own, and answer it with an error."""
        if request.method == "PUT" and not lost:
            lost.append(request.url)
            import urllib.request

            sent = urllib.request.Request(request.url, bytes(request.body.read()), dict(request.headers), method="PUT")
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sent)
            request.body.seek(0)
            return AWSResponse(request.url, 500, {}, _Raw(b""))
        return None

    s3.client_of(s3_settings).meta.events.register("before-send.s3.PutObject", lose)
    try:
        assert storage.write_if_absent("a", b"mine") is True
        assert lost
    finally:
        s3.forget_clients()
    assert storage.write_if_absent("a", b"mine") is False


class _Raw(io.BytesIO):
    def stream(self, **_):
        yield self.read()


def test_credentials_are_in_no_pickle_and_no_text(bucket, s3_settings, monkeypatch):
    name = "AWS_SECRET_ACCESS_KEY"
    monkeypatch.setenv(name, "never-to-be-seen")
    s3.forget_clients()
    storage = open_storage(f"s3://{bucket}", s3_settings)
    assert storage.delta_options()[name] == "never-to-be-seen"
    assert b"never-to-be-seen" not in pickle.dumps(storage)
    assert "never-to-be-seen" not in repr(storage)
    s3.forget_clients()


def test_a_server_that_is_gone_is_waited_for_by_every_thread(storage, s3_settings, monkeypatch):
    """However many of them try again: botocore's standard mode lets all threads of a client together do so a hundred times."""
    for number in range(24):
        storage.write(f"a{number}", b"there")
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    tries = Counter()

    def gone(request, **_):
        tries[request.url] += 1
        if tries[request.url] <= 6:
            raise EndpointConnectionError(endpoint_url=request.url)

    s3.client_of(s3_settings).meta.events.register("before-send.s3", gone)
    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(storage.read, (f"a{number}" for number in range(24)))) == [b"there"] * 24
    assert set(tries.values()) == {7}
    s3.forget_clients()


def test_what_is_wrong_is_said(bucket, s3_settings, monkeypatch):
    with pytest.raises(UsageError) as caught:
        open_storage("s3://Not_A_Bucket/raw", s3_settings)
    assert str(caught.value) == "'s3://Not_A_Bucket/raw' is not an address in S3; write s3://bucket/prefix"

    with pytest.raises(EnvironmentProblem) as caught:
        list(open_storage("s3://nowhere/raw", s3_settings).list())
    assert str(caught.value) == "s3://nowhere/raw: there is no bucket 'nowhere'; make it, or name another one"

    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    gone = S3Settings(endpoint="http://127.0.0.1:9", region="ap-southeast-5", path_style=True)
    with pytest.raises(EnvironmentProblem) as caught:
        open_storage(f"s3://{bucket}/raw", gone).read("a")
    assert str(caught.value).startswith(f"s3://{bucket}/raw/a: no answer from S3 at http://127.0.0.1:9 in 1 attempts: ")

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    s3.forget_clients()
    storage = open_storage(f"s3://{bucket}/raw", s3_settings)
    for call in (lambda: storage.read("a"), storage.delta_options):
        with pytest.raises(EnvironmentProblem, match=r": no AWS credentials on this machine; give it a role, or set AWS_PROFILE"):
            call()
    s3.forget_clients()


# ---- tables and leases


def rows(*ids: str) -> list[pa.RecordBatch]:
    columns = {"id": list(ids), "amount": [1] * len(ids), PARTITION: ["2025-09"] * len(ids)}
    return [pa.RecordBatch.from_pydict(columns, schema=SCHEMA)]


def append(storage, *ids: str) -> int:
    files = write_curated(rows(*ids), storage=storage, folder="curated/t", schema=SCHEMA, run_id="r")
    return commit_curated(storage, "curated/t", files, SCHEMA, {"ids": ",".join(ids)})


def test_a_table_is_written_and_read(storage, bucket, s3_settings):
    assert [append(storage, "a"), append(storage, "b", "c")] == [0, 1]

    lake = Lake(f"s3a://{bucket}/root", s3_settings)
    paths = lake.curated("t").paths()
    read = parquet_dataset(storage, [(path, {PARTITION: "2025-09"}) for path in paths], SCHEMA).to_table()
    assert sorted(read["id"].to_pylist()) == ["a", "b", "c"]
    assert lake.curated("t").version() == 1
    with storage.open_input(paths[0]) as stream:
        assert pq.ParquetFile(stream).metadata.num_columns == 2


def test_of_writers_at_once_each_commits_or_says_so(storage):
    """Without a lease: whoever's commit is refused has added nothing, and no row is there twice."""

    def write(name: str) -> str | None:
        try:
            append(storage, name)
        except LeaseError:
            return None
        return name

    append(storage, "first")
    with ThreadPoolExecutor(8) as pool:
        done = [name for name in pool.map(write, [f"w{number}" for number in range(16)]) if name]

    table = open_delta(storage, "curated/t")
    assert table.version() == len(done)
    assert sorted(table.to_pyarrow_table()["id"].to_pylist()) == sorted(["first", *done])


def test_one_of_many_runs_has_the_lease(storage):
    def take(number: int) -> bool:
        try:
            with hold(storage, "curated/t", f"run{number}", 0):
                time.sleep(0.5)
                return True
        except LeaseError:
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(take, range(6))) == 1
    with hold(storage, "curated/t", "next", 0):
        pass


def test_a_lease_that_nobody_renews_is_taken_over(storage, monkeypatch):
    monkeypatch.setattr("stores.lease._host", lambda: "elsewhere")
    dead = Lease(storage, "curated/t", "dead", lifetime=0.5)
    dead._try_to_take()  # and no thread that renews
    monkeypatch.undo()

    taken = r"^curated/t: run living .* took over while this run made no progress"
    with hold(storage, "curated/t", "living", 5), pytest.raises(LeaseError, match=taken):
        dead.check()
