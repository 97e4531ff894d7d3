"""Clients of SageMaker, built wherever code runs: driver or Spark worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class FeatureStoreAddress:
    """Where the Feature Store answers; None for AWS's own address and the session's region. Pickles, has no secrets."""

    endpoint_url: str | None = None
    region: str | None = None

    def control_plane(self) -> Any:
        """A client of `sagemaker`, with botocore's own retries."""
        return self._client("sagemaker", retries={"mode": "standard", "max_attempts": 5})

    def runtime(self, *, connections: int = 10, attempts: int = 5) -> Any:
        """A client of `sagemaker-featurestore-runtime`; with `attempts=1` a failure is the caller's to retry.

        Requests are not checked against the model: that costs half the CPU of a call, and the store checks them too.
        """
        return self._client(
            "sagemaker-featurestore-runtime",
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=connections,
            parameter_validation=False,
        )

    def _client(self, service: str, **options: Any) -> Any:
        arguments: dict[str, Any] = {"region_name": self.region, "endpoint_url": self.endpoint_url}
        if self.endpoint_url is not None and urlsplit(self.endpoint_url).hostname in _LOOPBACK:
            # A server on this machine checks no signature: real credentials stay out of it, and so does a proxy.
            arguments |= {"aws_access_key_id": "local", "aws_secret_access_key": "local"}  # pragma: allowlist secret
            options["proxies"] = {}
        return boto3.Session().client(service, config=Config(connect_timeout=10, read_timeout=60, **options), **arguments)
