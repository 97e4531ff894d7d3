"""Storage: what readers see while, and after, something is written; the same on a folder and in S3."""

import errno
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from conf.errors import EnvironmentProblem, UsageError
from stores.storage import LocalStorage, open_storage


@pytest.fixture
def folder(tmp_path):
    return open_storage(tmp_path / "root")


@pytest.fixture(params=["folder", "s3"])
def storage(request):
    if request.param == "folder":
        return request.getfixturevalue("folder")
    return open_storage(f"s3a://{request.getfixturevalue('bucket')}/root", request.getfixturevalue("s3_settings"))


def test_a_missing_root_is_empty(storage):
    assert list(storage.list()) == []
    assert storage.exists("") is False
    assert storage.stat("a") is None
    with pytest.raises(FileNotFoundError):
        storage.read("a")


def test_files_at_any_depth_are_listed_in_order(storage):
    for path in ("b.txt", "a/z.txt", "a/b/c.txt", "a-b/d.txt"):
        storage.write(path, path.encode())

    assert [file.path for file in storage.list()] == ["a-b/d.txt", "a/b/c.txt", "a/z.txt", "b.txt"]
    assert [(file.path, file.size) for file in storage.list("a")] == [("a/b/c.txt", 9), ("a/z.txt", 7)]
    assert storage.stat("b.txt") == next(file for file in storage.list() if file.path == "b.txt")


def test_a_link_to_a_folder_above_ends_the_walk(folder, tmp_path):
    folder.write("a/b.txt", b"1")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "gone").symlink_to(tmp_path / "nowhere")

    assert [file.path for file in folder.list()] == ["a/b.txt"]


def test_a_stream_appears_when_it_is_closed(storage):
    with storage.open_output("a/b") as stream:
        stream.write(b"12")
        stream.flush()
        assert storage.exists("a/b") is False
        assert list(storage.list()) == []

    assert storage.read("a/b") == b"12"


def test_a_stream_that_fails_leaves_what_was_there(storage):
    storage.write("a", b"old")

    with pytest.raises(KeyError), storage.open_output("a") as stream:
        stream.write(b"new")
        raise KeyError

    assert storage.read("a") == b"old"
    assert [file.path for file in storage.list()] == ["a"]


def test_a_stream_that_fails_leaves_nothing_in_its_folder(folder, tmp_path):
    with pytest.raises(KeyError), folder.open_output("a/b") as stream:
        stream.write(b"new")
        raise KeyError

    assert list((tmp_path / "root" / "a").iterdir()) == []


def test_a_folder_goes_with_what_a_killed_writer_began(folder, tmp_path):
    folder.write("a/b/c", b"1")
    folder.write("ab", b"1")
    (tmp_path / "root" / "a" / ".etr-tmp-0123").write_bytes(b"half")

    folder.delete_folder("a")
    folder.delete_folder("a")

    assert [path.name for path in (tmp_path / "root").rglob("*") if path.is_file()] == ["ab"]


def test_a_full_disk_leaves_no_file(folder, tmp_path):
    full = r"^\S+/root/a: the disk is full \([0-9,]+ MiB free\); nothing was written under that name\. Make room and run again"
    with pytest.raises(EnvironmentProblem, match=full), folder.open_output("a"):
        raise OSError(errno.ENOSPC, "No space left on device")

    assert list((tmp_path / "root").iterdir()) == []


def test_one_of_many_writers_is_first(storage):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: storage.write_if_absent("lease", b"%d" % n), range(8)))

    assert sum(won) == 1
    assert storage.read("lease") == b"%d" % won.index(True)


def test_one_writer_is_first_where_there_are_no_hard_links(folder, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)

    assert folder.write_if_absent("lease", b"1") is True
    assert folder.write_if_absent("lease", b"2") is False
    assert [(file.path, file.size) for file in folder.list()] == [("lease", 1)]


def test_delete_may_be_repeated(storage):
    storage.write("a", b"1")
    storage.delete("a")
    storage.delete("a")
    assert storage.exists("a") is False


def test_the_fingerprint_follows_the_content_and_the_tag_the_file(storage):
    storage.write("a", b"1")
    first = storage.stat("a")
    storage.write("b", b"1")
    assert storage.fingerprint("a") == storage.fingerprint("b")
    storage.write("a", b"22")
    assert storage.stat("a").tag != first.tag
    assert storage.fingerprint("a") != storage.fingerprint("b")


def test_workers_get_the_same_storage(storage):
    storage.write("a", b"1")
    assert pickle.loads(pickle.dumps(storage)).read("a") == b"1"


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/etc/hosts"])
def test_nothing_outside_the_root_is_reached(storage, path):
    with pytest.raises(ValueError, match=f"^'{path}' must lie below "):
        storage.read(path)


def test_a_file_in_the_way_of_a_folder(folder, tmp_path):
    folder.write("a", b"1")
    with pytest.raises(EnvironmentProblem) as problem:
        folder.write("a/b", b"1")
    assert str(problem.value) == f"{tmp_path}/root/a/b: a file is in the way of a folder, or a folder in the way of the file"


def test_known_schemes(tmp_path):
    assert open_storage(f"file://{tmp_path}/a%20b") == LocalStorage(tmp_path / "a b")
    assert open_storage("s3://bucket/raw/") == open_storage("s3a://bucket/raw")
    assert open_storage("s3a://bucket/raw/").root == "s3a://bucket/raw"
    with pytest.raises(UsageError) as problem:
        open_storage("gs://bucket/raw")
    assert str(problem.value) == "'gs://bucket/raw': no storage for 'gs://'; known: a folder's path, file://, s3://, s3a://"


def test_what_lies_elsewhere_is_reached_the_same_way(storage, bucket, s3_settings, tmp_path):
    local, remote = storage.elsewhere(str(tmp_path / "b")), open_storage(tmp_path, s3_settings).elsewhere(f"s3://{bucket}/b")
    for other in (local, remote):
        other.write("c", b"1")
    assert remote.elsewhere(f"s3a://{bucket}").read("b/c") == (tmp_path / "b" / "c").read_bytes()
