"""A server that speaks S3: moto's, with S3's own order of listings. A process, since deltalake waits for it without other threads."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count

import boto3
import pytest

from conf.settings import S3Settings
from stores import s3

_HOST = "127.0.0.1"
_numbers = count()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Where the server answers."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", _HOST, "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        give_up = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((_HOST, port), timeout=1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > give_up:
                    raise
                time.sleep(0.1)
        yield f"http://{_HOST}:{port}"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="module")
def s3_settings(s3_endpoint) -> Iterator[S3Settings]:
    """How the server is reached; the process has credentials for it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.delenv("AWS_SESSION_TOKEN", raising=False)
        patch.delenv("AWS_PROFILE", raising=False)
        patch.setenv("NO_PROXY", _HOST)
        s3.forget_clients()
        yield S3Settings(endpoint=s3_endpoint, region="ap-southeast-5", path_style=True)
        s3.forget_clients()


@pytest.fixture
def bucket(s3_settings) -> str:
    """A new bucket."""
    name = f"bucket-{next(_numbers)}"
    client = boto3.client("s3", endpoint_url=s3_settings.endpoint, region_name=s3_settings.region)
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3_settings.region})
    return name
