"""A storage in which the driver may do everything, and workers may only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from stores.storage import LocalStorage, Storage, open_storage


class DriverOnly(LocalStorage):
    """Below a folder; also what lies elsewhere."""

    def elsewhere(self, uri: str) -> Storage:
        return DriverOnly(open_storage(uri).root)

    def open_output(self, path: str) -> AbstractContextManager[BinaryIO]:
        _refuse_in_workers(path)
        return super().open_output(path)

    def write_if_absent(self, path: str, data: bytes) -> bool:
        _refuse_in_workers(path)
        return super().write_if_absent(path, data)

    def delete(self, path: str) -> None:
        _refuse_in_workers(path)
        super().delete(path)


def _refuse_in_workers(path: str) -> None:
    from pyspark import TaskContext

    if TaskContext.get() is not None:
        raise PermissionError(f"AccessDenied: not allowed to put {path}")


def files_of(folder: Path) -> Iterator[str]:
    """Every file below a folder, by its path from there."""
    return (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
