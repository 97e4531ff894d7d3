"""The one way in which driver and workers reach files: list, read, write, write if absent, delete."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from conf.errors import EnvironmentProblem, InputError, UsageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from conf.settings import S3Settings

_TEMPORARY = ".etr-tmp-"


@dataclass(frozen=True)
class StoredFile:
    """A file below a storage's root. `tag` changes whenever the content may have changed; it costs no read."""

    path: str
    size: int
    modified: float
    """Seconds since 1970, UTC."""
    tag: str


class Storage(Protocol):
    """Files below one root. Paths are relative to it, with `/`. Pickles, so that Spark's workers can use it."""

    @property
    def root(self) -> str:
        """The root's URI, as Spark and deltalake take it."""

    def uri(self, path: str = "") -> str:
        """Where `path` lies, as Spark and deltalake take it."""

    def elsewhere(self, uri: str) -> Storage:
        """The storage below another root, reached with the same settings."""

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Every file below the folder `prefix`, at any depth, sorted by path; none when the folder is missing."""

    def stat(self, path: str) -> StoredFile | None:
        """The file as `list` would give it, or None."""

    def exists(self, path: str) -> bool:
        """Whether a file or folder of this name is there."""

    def read(self, path: str) -> bytes:
        """The whole content. Raises FileNotFoundError."""

    def open_input(self, path: str) -> BinaryIO:
        """A seekable stream; the caller closes it. Raises FileNotFoundError."""

    def fingerprint(self, path: str) -> str:
        """What identifies the content, whatever its time; may read it all."""

    def write(self, path: str, data: bytes) -> None:
        """Write or replace a file: readers see the old content or the new, never a part."""

    def open_output(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A stream whose content appears under `path` when the block ends, and not at all when it raises."""

    def write_if_absent(self, path: str, data: bytes) -> bool:
        """Write a file unless one is there; of any number of writers at once, one gets True."""

    def delete(self, path: str) -> None:
        """Remove a file; fine when it is gone already."""

    def delete_folder(self, folder: str) -> None:
        """Remove every file below a folder, those too that were begun and never finished; fine when there are none."""

    def delete_unfinished(self, folder: str) -> None:
        """Remove what writers below a folder began and never finished. Nobody else may write there meanwhile."""

    def delta_options(self) -> dict[str, str]:
        """What deltalake needs beside an address. Has credentials: good for the call at hand, never to be kept or shown."""

    def arrow_filesystem(self) -> tuple[FileSystem, str]:
        """The same files for pyarrow, to be read within minutes, and where the root lies there."""


class LocalStorage:
    """A folder on this machine, or on a file system that every worker has mounted at the same place."""

    def __init__(self, folder: str | Path, s3: S3Settings | None = None) -> None:
        """`s3`: for what lies `elsewhere`."""
        self._folder = Path(folder).absolute()
        self._s3 = s3

    @property
    def root(self) -> str:
        return str(self._folder)

    def __repr__(self) -> str:
        return f"LocalStorage({str(self._folder)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalStorage) and other._folder == self._folder

    def __hash__(self) -> int:
        return hash(self._folder)

    def uri(self, path: str = "") -> str:
        return str(self._at(path))

    def elsewhere(self, uri: str) -> Storage:
        return open_storage(uri, self._s3)

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        found: list[StoredFile] = []
        walked: set[str] = set()
        for folder, folders, names in os.walk(self._at(prefix), followlinks=True):
            real = os.path.realpath(folder)
            if real in walked:  # a link back to a folder above
                folders.clear()
                continue
            walked.add(real)
            for name in names:
                if not name.startswith(_TEMPORARY):
                    path = Path(folder, name)
                    with suppress(FileNotFoundError):  # deleted since, or a link to nothing
                        found.append(self._stored(path))
        yield from sorted(found, key=lambda file: file.path)

    def stat(self, path: str) -> StoredFile | None:
        at = self._at(path)
        return self._stored(at) if at.is_file() else None

    def exists(self, path: str) -> bool:
        return self._at(path).exists()

    def read(self, path: str) -> bytes:
        return self._at(path).read_bytes()

    def open_input(self, path: str) -> BinaryIO:
        return self._at(path).open("rb")

    def fingerprint(self, path: str) -> str:
        with self._at(path).open("rb") as stream:
            return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()

    def write(self, path: str, data: bytes) -> None:
        with self.open_output(path) as stream:
            stream.write(data)

    @contextmanager
    def open_output(self, path: str) -> Iterator[BinaryIO]:
        target = self._at(path)
        temporary = self._temporary(target)
        try:
            with temporary.open("xb") as stream:
                yield stream
            temporary.replace(target)
        except BaseException as problem:
            temporary.unlink(missing_ok=True)
            if (explained := self._explained(problem, target)) is problem:
                raise
            raise explained from problem

    def write_if_absent(self, path: str, data: bytes) -> bool:
        target = self._at(path)
        if target.exists():
            return False
        temporary = self._temporary(target)
        try:
            temporary.write_bytes(data)
            os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError as problem:
            if problem.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                return self._create(target, data)  # a file system without hard links
            if (explained := self._explained(problem, target)) is problem:
                raise
            raise explained from problem
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def delete(self, path: str) -> None:
        self._at(path).unlink(missing_ok=True)

    def delete_folder(self, folder: str) -> None:
        self.delete_unfinished(folder)
        for file in list(self.list(folder)):
            self.delete(file.path)

    def delete_unfinished(self, folder: str) -> None:
        for begun in self._at(folder).rglob(f"{_TEMPORARY}*"):
            begun.unlink(missing_ok=True)

    def delta_options(self) -> dict[str, str]:
        return {}

    def arrow_filesystem(self) -> tuple[FileSystem, str]:
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), str(self._folder)

    def _at(self, path: str) -> Path:
        parts = PurePosixPath(path).parts
        if ".." in parts or path.startswith("/"):
            raise ValueError(f"'{path}' must lie below {self._folder}")
        return self._folder.joinpath(*parts)

    def _stored(self, path: Path) -> StoredFile:
        state = path.stat()
        return StoredFile(
            path=path.relative_to(self._folder).as_posix(),
            size=state.st_size,
            modified=state.st_mtime,
            tag=f"{state.st_mtime_ns}-{state.st_size}",
        )

    def _temporary(self, target: Path) -> Path:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise self._explained(problem, target) from problem
        return target.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"

    def _create(self, target: Path, data: bytes) -> bool:
        try:
            with target.open("xb") as stream:
                stream.write(data)
        except FileExistsError:
            return False
        return True

    def _explained(self, problem: BaseException, target: Path) -> BaseException:
        """A full disk or a folder that may not be written, in the user's words; any other problem as it is."""
        if not isinstance(problem, OSError):
            return problem
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(target.parent).free
            return EnvironmentProblem(
                f"{target}: the disk is full ({free / 2**20:,.0f} MiB free); nothing was written under that name. "
                "Make room and run again: what is done already is not done twice"
            )
        if problem.errno in (errno.EACCES, errno.EROFS):
            return EnvironmentProblem(f"{target}: this user may not write there; choose another folder or its rights")
        if problem.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            return EnvironmentProblem(f"{target}: a file is in the way of a folder, or a folder in the way of the file")
        return problem


def open_storage(uri: str | Path, s3: S3Settings | None = None) -> Storage:
    """The storage below `uri`: a path or `file://` URI of a folder, or `s3://` (`s3a://`) of a prefix; it needn't exist yet.

    `s3`: how S3 is reached; AWS's own when None. Raises UsageError for a scheme that isn't known.
    """
    text = str(uri)
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme == "":
        return LocalStorage(Path(text).expanduser(), s3)
    if scheme == "file":
        return LocalStorage(unquote(urlsplit(text).path), s3)
    if is_s3(text):
        from conf.settings import S3Settings
        from stores.s3 import S3Storage  # boto3 takes longer than a folder should

        return S3Storage(text, s3 or S3Settings())
    raise UsageError(f"'{text}': no storage for '{scheme}://'; known: a folder's path, file://, s3://, s3a://")


def is_s3(uri: str) -> bool:
    """Whether an address is one in S3."""
    return uri.startswith(("s3://", "s3a://"))


def need_folder(storage: Storage, *, option: str) -> None:
    """Raises InputError when the root that `option` names isn't there."""
    if not storage.exists(""):
        raise InputError(f"{option}: there is no folder {storage.root}; name the folder that holds the raw files")
