"""Files in an S3 bucket, or in that of any server that speaks S3 and its conditional writes."""

from __future__ import annotations

import io
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
from pyarrow.fs import AwsDefaultS3RetryStrategy, FileSystem, S3FileSystem

from conf.errors import EnvironmentProblem, UsageError
from conf.settings import S3Settings
from stores.s3_streams import Block, S3Input, S3Output
from stores.storage import Storage, StoredFile, open_storage

ATTEMPTS = 9
"""Of a call, with waits that double: a server that is gone for half a minute is waited for."""
_CONNECTIONS = 32
_ADDRESS = re.compile(r"(s3a?)://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")
_MISSING = ("404", "NoSuchKey", "NotFound")
_LOST = ("PreconditionFailed", "412")
_REFUSED = ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
_WRITE = "etr-write"  # an object's metadata: which call wrote it


class _NoSuchRangeError(OSError):
    """Bytes were asked for that an object doesn't have."""


class S3Storage:
    """Objects below `s3://bucket/prefix` (`s3a://` is the same place). Pickles, without credentials.

    These are found by botocore's own chain where the code runs, and renewed by botocore.
    """

    def __init__(self, address: str, settings: S3Settings) -> None:
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise UsageError(f"'{address}' is not an address in S3; write s3://bucket/prefix")
        self._scheme, self._bucket = found[1], found[2]
        self._prefix = "/".join(part for part in (found[3] or "").split("/") if part)
        self._settings = settings

    @property
    def root(self) -> str:
        return self.uri()

    def __repr__(self) -> str:
        return f"S3Storage({self.root!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, S3Storage):
            return NotImplemented
        return (self._bucket, self._prefix, self._settings) == (other._bucket, other._prefix, other._settings)

    def __hash__(self) -> int:
        return hash((self._bucket, self._prefix))

    def uri(self, path: str = "") -> str:
        return f"{self._scheme}://{self._bucket}/{self._key(path)}".rstrip("/")

    def elsewhere(self, uri: str) -> Storage:
        return open_storage(uri, self._settings)

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        with self._explained(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._folder(prefix))
            found = [item for page in pages for item in page.get("Contents", ()) if not item["Key"].endswith("/")]
        files = (self._stored(item["Key"], item["Size"], item) for item in found)
        yield from sorted(files, key=lambda file: file.path)

    def stat(self, path: str) -> StoredFile | None:
        key = self._key(path)
        with suppress(FileNotFoundError), self._explained(path):
            found = self._client.head_object(Bucket=self._bucket, Key=key)
            return self._stored(key, found["ContentLength"], found)
        return None

    def exists(self, path: str) -> bool:
        if path and self.stat(path) is not None:
            return True
        with self._explained(path):
            found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._folder(path), MaxKeys=1)
        return bool(found.get("Contents"))

    def read(self, path: str) -> bytes:
        return self._get(path)[1]

    def open_input(self, path: str) -> BinaryIO:
        return io.BufferedReader(S3Input(partial(self._get_range, path)), buffer_size=2**16)

    def fingerprint(self, path: str) -> str:
        """The object's ETag: another content has another one, whatever way it was uploaded."""
        found = self.stat(path)
        if found is None:
            raise FileNotFoundError(self.uri(path))
        return f"etag:{found.tag}"

    def write(self, path: str, data: bytes) -> None:
        with self._explained(path):
            self._client.put_object(Bucket=self._bucket, Key=self._key(path), Body=data, **self._encryption)

    @contextmanager
    def open_output(self, path: str) -> Iterator[BinaryIO]:
        stream = S3Output(self._client, self._bucket, self._key(path), self._encryption)
        with self._explained(path):
            try:
                yield cast(BinaryIO, stream)
                stream.commit()
            except BaseException:
                with suppress(BotoCoreError, ClientError):  # the first problem is the one to tell
                    stream.abandon()
                raise

    def write_if_absent(self, path: str, data: bytes) -> bool:
        mine = uuid.uuid4().hex
        try:
            with self._explained(path):
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._key(path),
                    Body=data,
                    IfNoneMatch="*",
                    Metadata={_WRITE: mine},
                    **self._encryption,
                )
        except FileExistsError:
            return self._wrote(path, mine)
        return True

    def delete(self, path: str) -> None:
        with self._explained(path):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(path))

    def delete_folder(self, folder: str) -> None:
        keys = [{"Key": self._key(file.path)} for file in self.list(folder)]
        with self._explained(folder):
            for start in range(0, len(keys), 1000):
                told = {"Objects": keys[start : start + 1000], "Quiet": True}
                answer = self._client.delete_objects(Bucket=self._bucket, Delete=told)
                if errors := answer.get("Errors"):
                    raise OSError(f"{self.uri(folder)}: {len(errors)} objects were not deleted: {errors[0].get('Message')}")
        self.delete_unfinished(folder)

    def delete_unfinished(self, folder: str) -> None:
        with self._explained(folder):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=self._folder(folder)
            )
            for upload in [upload for page in pages for upload in page.get("Uploads", ())]:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def delta_options(self) -> dict[str, str]:
        settings = self._settings
        options = {
            "AWS_REGION": self._region,
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": str(not settings.path_style).lower(),
            "AWS_CONDITIONAL_PUT": "etag",
        }
        if settings.endpoint:
            options["AWS_ENDPOINT_URL"] = settings.endpoint
            options["AWS_ALLOW_HTTP"] = str(settings.endpoint.startswith("http://")).lower()
        if settings.kms_key:
            options |= {"AWS_SERVER_SIDE_ENCRYPTION": "aws:kms", "AWS_SSE_KMS_KEY_ID": settings.kms_key}
        found = self._credentials()
        options |= {"AWS_ACCESS_KEY_ID": found.access_key, "AWS_SECRET_ACCESS_KEY": found.secret_key}
        return options | ({"AWS_SESSION_TOKEN": found.token} if found.token else {})

    def arrow_filesystem(self) -> tuple[FileSystem, str]:
        settings, found = self._settings, self._credentials()
        scheme, _, host = (settings.endpoint or "https://").partition("://")
        filesystem = S3FileSystem(
            access_key=found.access_key,
            secret_key=found.secret_key,
            session_token=found.token,
            region=self._region,
            scheme=scheme,
            endpoint_override=host.rstrip("/") or None,
            force_virtual_addressing=bool(host) and not settings.path_style,
            retry_strategy=AwsDefaultS3RetryStrategy(max_attempts=ATTEMPTS + 2),  # its waits are shorter
        )
        return filesystem, f"{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def _client(self) -> Any:
        return client_of(self._settings)

    @property
    def _region(self) -> str:
        return self._settings.region or _session().region_name or "us-east-1"

    @property
    def _encryption(self) -> Mapping[str, Any]:
        key = self._settings.kms_key
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key, "BucketKeyEnabled": True} if key else {}

    def _credentials(self) -> Any:
        """As they are now: whoever keeps them has them for some minutes at least, which botocore sees to."""
        found = _session().get_credentials()
        if found is None:
            raise _without_credentials(self.root)
        return found.get_frozen_credentials()

    def _get(self, path: str, **asked: Any) -> tuple[Mapping[str, Any], bytes]:
        """An answer and its body; one that breaks off is asked for again, which botocore leaves to us."""
        with self._explained(path):
            attempt = 1
            while True:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key(path), **asked)
                try:
                    return answer, bytes(answer["Body"].read())
                except HTTPClientError:
                    if attempt == ATTEMPTS:
                        raise
                    attempt += 1

    def _get_range(self, path: str, asked: str, etag: str | None) -> Block:
        try:
            answer, data = self._get(path, Range=asked, **({"IfMatch": etag} if etag else {}))
        except _NoSuchRangeError:  # of an empty object there is no last byte
            return Block(0, b"", 0, "")
        except FileExistsError as problem:
            raise OSError(f"{self.uri(path)} was replaced while it was read; run again") from problem
        if "ContentRange" not in answer:
            return Block(0, data, len(data), answer["ETag"])
        span, _, size = answer["ContentRange"].removeprefix("bytes ").partition("/")
        return Block(int(span.split("-")[0]), data, int(size), answer["ETag"])

    def _wrote(self, path: str, mine: str) -> bool:
        """Whether the object is the one that call wrote: its first answer may have been lost, and the call repeated."""
        with suppress(FileNotFoundError), self._explained(path):
            found = self._client.head_object(Bucket=self._bucket, Key=self._key(path))
            return bool(found["Metadata"].get(_WRITE) == mine)
        return False

    def _key(self, path: str) -> str:
        if ".." in PurePosixPath(path).parts or path.startswith("/"):
            raise ValueError(f"'{path}' must lie below {self._scheme}://{self._bucket}/{self._prefix}")
        return "/".join(part for part in (self._prefix, path.strip("/")) if part)

    def _folder(self, path: str) -> str:
        key = self._key(path)
        return f"{key}/" if key else ""

    def _stored(self, key: str, size: int, told: Mapping[str, Any]) -> StoredFile:
        path = key.removeprefix(f"{self._prefix}/") if self._prefix else key
        return StoredFile(path, size, told["LastModified"].timestamp(), told["ETag"].strip('"'))

    @contextmanager
    def _explained(self, path: str) -> Iterator[None]:
        """What S3 said, as files say it, or in the user's words."""
        try:
            yield
        except ClientError as problem:
            raise self._as_file_problem(path, problem) from problem
        except NoCredentialsError as problem:
            raise _without_credentials(self.root) from problem
        except BotoCoreError as problem:
            where = self._settings.endpoint or "AWS"
            raise EnvironmentProblem(
                f"{self.uri(path)}: no answer from S3 at {where} in {ATTEMPTS} attempts: {problem}. "
                "Check s3.endpoint and the network, then run again: what is done already is not done twice"
            ) from problem

    def _as_file_problem(self, path: str, problem: ClientError) -> Exception:
        code, message = problem.response["Error"]["Code"], problem.response["Error"].get("Message", "")
        if code in _MISSING:
            return FileNotFoundError(self.uri(path))
        if code in _LOST:
            return FileExistsError(self.uri(path))
        if code in ("InvalidRange", "416"):
            return _NoSuchRangeError(self.uri(path))
        if code == "NoSuchBucket":
            return EnvironmentProblem(f"{self.uri(path)}: there is no bucket '{self._bucket}'; make it, or name another one")
        if code in _REFUSED:
            return EnvironmentProblem(
                f"{self.uri(path)}: S3 refused {problem.operation_name}: {code} {message}. "
                "Check the credentials of this machine, its role's rights on the bucket, and on the key of s3.kms_key"
            )
        return OSError(f"{self.uri(path)}: S3 answered {problem.operation_name} with {code} {message}")


def _without_credentials(root: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{root}: no AWS credentials on this machine; give it a role, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY"
    )


@cache
def _session() -> Any:
    return boto3.Session()


@cache
def client_of(settings: S3Settings) -> Any:
    """One client a process, which its threads share; it finds its credentials anew when they run out."""
    config = Config(
        # Not `standard`: its threads share a hundred retries, which are spent in seconds where a server is gone.
        retries={"mode": "legacy", "total_max_attempts": ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
        connect_timeout=10,
        read_timeout=60,
        s3={"addressing_style": "path" if settings.path_style else "auto"},
    )
    return _session().client("s3", region_name=settings.region, endpoint_url=settings.endpoint, config=config)


def forget_clients() -> None:
    """The next call finds credentials and settings of the process anew."""
    client_of.cache_clear()
    _session.cache_clear()


os.register_at_fork(after_in_child=forget_clients)  # connections aren't shared with a child
