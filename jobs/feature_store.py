"""The Feature Store that an environment means: AWS's, one at an address, or the embedded one for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from conf.errors import InputError, UsageError
from stores.storage import LocalStorage, open_storage

if TYPE_CHECKING:
    from conf.settings import Settings
    from stores.aws import FeatureStoreAddress

FOLDER = "feature_store"


@contextmanager
def feature_store(settings: Settings, *, must_exist: bool = False) -> Iterator[FeatureStoreAddress]:
    """The address of the environment's Feature Store; an embedded one is started, or joined where it runs already.

    Raises: InputError when `must_exist` and nothing was ever stored, EnvironmentProblem when it can't be started.
    """
    from stores.aws import FeatureStoreAddress  # boto3 takes longer than a wrong argument should

    region = settings.offline_store.region
    if not settings.feature_store.embedded:
        yield FeatureStoreAddress(settings.feature_store.endpoint, region)
        return
    from stores.embedded.endpoint import DEFAULT_ACCOUNT, DEFAULT_REGION
    from stores.embedded.local import LocalFeatureStore

    data = embedded_folder(settings.lake)
    if must_exist and not data.is_dir():
        raise InputError(f"{data}: no records there, nothing was published yet; run etr pipeline, or name another --lake")
    account = settings.offline_store.account
    with LocalFeatureStore(data, region=region or DEFAULT_REGION, account=account or DEFAULT_ACCOUNT) as store:
        yield FeatureStoreAddress(store.endpoint, store.region)


def embedded_folder(lake: str) -> Path:
    """Where the embedded Feature Store keeps its records. Raises: UsageError when the lake isn't a folder."""
    if "://" in lake and not lake.startswith("file://"):
        raise UsageError(
            f"the embedded Feature Store keeps its records in the lake's folder, and the lake is {lake};"
            " set feature_store.endpoint to null for AWS, or to an address"
        )
    storage = open_storage(lake)
    assert isinstance(storage, LocalStorage)
    return Path(storage.uri(FOLDER))
