"""Streams over one S3 object: read by ranges with read-ahead, written by parts that become an object at the end or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

PART_BYTES = 16 * 2**20
"""Of a multipart upload: S3 takes 10,000 parts, so an object grows to 160 GB."""
END_BYTES = 4 * 2**20
"""Whoever asks for the size gets so much of the end with it: a small file whole, of Parquet the footer."""
LEAST_BYTES, MOST_BYTES = 2**20, 16 * 2**20
"""Of one read: the first after a jump, and what reading on doubles it to."""


@dataclass(frozen=True)
class Block:
    """Bytes of an object of so many, the first of them at `start`."""

    start: int
    data: bytes
    size: int
    etag: str

    @property
    def stop(self) -> int:
        return self.start + len(self.data)


GetRange = Callable[[str, str | None], Block]
"""Get `bytes=...` of the object, of the content that an ETag stands for where one is given; an OSError where it was replaced."""


class S3Input(io.RawIOBase):
    """A seekable stream over an object as it is when the stream is opened."""

    def __init__(self, get: GetRange) -> None:
        self._get = get
        self._position = 0
        self._end = get(f"bytes=-{END_BYTES}", None)
        self._block = Block(0, b"", self._end.size, self._end.etag)
        self._ahead = LEAST_BYTES

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end.size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, into: WriteableBuffer, /) -> int:
        view = memoryview(into)
        if not len(view) or self._position >= self._end.size:
            return 0
        block = self._holding(self._position, len(view))
        at = self._position - block.start
        found = block.data[at : at + len(view)]
        view[: len(found)] = found
        self._position += len(found)
        return len(found)

    def _holding(self, position: int, wanted: int) -> Block:
        """Bytes with the one at `position` among them."""
        for block in (self._end, self._block):
            if block.start <= position < block.stop:
                return block
        self._ahead = min(self._ahead * 2, MOST_BYTES) if position == self._block.stop else LEAST_BYTES
        until = min(position + max(wanted, self._ahead), self._end.start)
        self._block = self._get(f"bytes={position}-{until - 1}", self._end.etag)
        return self._block


class S3Output(io.RawIOBase):
    """Collects an object in parts. Nothing is there until `commit`; `abandon` leaves what was there."""

    def __init__(self, client: Any, bucket: str, key: str, options: Mapping[str, Any]) -> None:
        self._client, self._options = client, options
        self._where = {"Bucket": bucket, "Key": key}
        self._waiting = bytearray()
        self._parts: list[dict[str, Any]] = []
        self._upload: str | None = None
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        self._waiting += view
        self._position += len(view)
        while len(self._waiting) >= PART_BYTES:
            self._send(PART_BYTES)
        return len(view)

    def commit(self) -> None:
        """The object is there, whole."""
        if self._upload is None:
            self._client.put_object(**self._where, Body=bytes(self._waiting), **self._options)
            return
        if self._waiting:
            self._send(len(self._waiting))
        parts = {"Parts": self._parts}
        self._client.complete_multipart_upload(**self._where, UploadId=self._upload, MultipartUpload=parts)

    def abandon(self) -> None:
        """Parts that were sent are removed."""
        if self._upload is not None:
            self._client.abort_multipart_upload(**self._where, UploadId=self._upload)

    def _send(self, size: int) -> None:
        if self._upload is None:
            self._upload = self._client.create_multipart_upload(**self._where, **self._options)["UploadId"]
        number = len(self._parts) + 1
        body = bytes(self._waiting[:size])
        answer = self._client.upload_part(**self._where, UploadId=self._upload, PartNumber=number, Body=body)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        del self._waiting[:size]
