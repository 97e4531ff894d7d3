"""Settings: base.yaml with one environment's file laid over it, then `--set key=value`. Where and how big, never what."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal

from pydantic import Field

from conf.errors import EnvironmentProblem, UsageError, did_you_mean
from conf.specs import Spec, Zone
from conf.yaml_file import Place, YamlFile, load_model, parse_yaml

_OPTIONS = "spark.options."

Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]*[mg]$")]
Share = Annotated[float, Field(ge=0, le=1)]
WriterChoice = Literal["auto", "workers", "jvm"]


class SparkSettings(Spec):
    """How big Spark runs; `options` are Spark's own and win over ours."""

    app_name: str
    master: str | None
    driver_memory: Memory
    shuffle_partitions: Annotated[int, Field(gt=0)]
    options: Mapping[str, str]


class OnlineStoreSettings(Spec):
    """How hard the online store is written to."""

    concurrency: Annotated[int, Field(gt=0)]
    records_per_second: Annotated[int, Field(gt=0)] | None


class OfflineStoreSettings(Spec):
    """Where the offline store lies, and the account and region that its paths name."""

    uri: str | None
    account: Annotated[str, Field(pattern=r"^[0-9]{12}$")] | None
    region: str | None


class S3Settings(Spec):
    """How S3 is reached; never with what credentials: these are the machine's.

    `endpoint`: null for AWS, or the address of another server. `path_style`: its buckets are folders, not host names.
    `kms_key`: encrypts what is written; null for what the bucket does by itself.
    """

    endpoint: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] | None = None
    region: str | None = None
    path_style: bool = False
    kms_key: str | None = None


class FeatureStoreSettings(Spec):
    """`endpoint`: null for AWS, `embedded` for one that the job starts and stops, or an address.

    `role_arn`: the role by which the service writes offline files; needed to create a group whose offline store is in S3.
    """

    endpoint: Annotated[str, Field(pattern=r"^(embedded|https?://\S+)$")] | None
    role_arn: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+$")] | None

    @property
    def embedded(self) -> bool:
        """Whether the job itself starts and stops the Feature Store."""
        return self.endpoint == "embedded"


class PersonalDataSettings(Spec):
    """Where the key of the HMAC over personal data comes from."""

    key_env: str
    development_key: str | None


class ValidationSettings(Spec):
    """When a day is held back."""

    max_quarantined_share: Share
    max_row_count_drop: Share


class SnapshotSettings(Spec):
    """How snapshots are made.

    `restatement_horizon_days`: how many days back a late row of a source without a known time makes a day worth restating.
    `days_at_once`: of a range, what one Spark job answers; more files are open at a time, and less is read again.
    """

    restatement_horizon_days: Annotated[int, Field(ge=0)]
    days_at_once: Annotated[int, Field(gt=0)]


class Settings(Spec):
    """One environment's places and sizes.

    `writer`: who writes snapshots, training sets and the offline store: Spark's `workers`, or where they may not the `jvm`, at
    about four times the cost; `auto` tries whether a worker may.
    """

    environment: str
    platform: Literal["local", "glue", "emr", "yarn"]
    time_zone: Zone
    raw: str
    lake: str
    writer: WriterChoice
    spark: SparkSettings
    online_store: OnlineStoreSettings
    offline_store: OfflineStoreSettings
    s3: S3Settings
    feature_store: FeatureStoreSettings
    personal_data: PersonalDataSettings
    validation: ValidationSettings
    snapshots: SnapshotSettings

    @property
    def offline_uri(self) -> str:
        """Root of the offline store; `offline_store/` under the lake unless it is set."""
        return self.offline_store.uri or f"{self.lake.rstrip('/')}/offline_store"

    def personal_data_key(self, environ: Mapping[str, str] = os.environ) -> bytes:
        """The HMAC key for personal data: the environment's variable, else the environment file's development key.

        Raises: EnvironmentProblem when neither is there.
        """
        key = environ.get(self.personal_data.key_env) or self.personal_data.development_key
        if not key:
            raise EnvironmentProblem(
                f"environment '{self.environment}': no key for personal data; "
                f"set the environment variable {self.personal_data.key_env} to a long random text and keep it"
            )
        return key.encode()


def known_environments() -> list[str]:
    """Names of the shipped environments."""
    names = (entry.name for entry in _folder().iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and name != "base.yaml")


def load_settings(environment: str, overrides: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment, with dotted `overrides` laid over its file.

    An override's value is text, `null` for none; what follows `spark.options.` is one Spark option.
    Raises: UsageError for an unknown environment; DefinitionError for an unknown key, or a value that doesn't fit.
    """
    known = known_environments()
    if environment not in known:
        raise UsageError(f"no environment named '{environment}'{did_you_mean(environment, known)}; known: {', '.join(known)}")
    layers = _Layers(name=environment, data={"environment": environment})
    for name in ("base.yaml", f"{environment}.yaml"):
        file = parse_yaml((_folder() / name).read_text(encoding="utf-8"), f"environments/{name}")
        _lay(file.data, file=file, into=layers.data, layers=layers)
    for key, text in (overrides or {}).items():
        _override(key, text, layers)
    return load_model(Settings, layers)


@dataclass(frozen=True)
class _Layers(YamlFile):
    """Settings from several places; knows which place each one came from."""

    origins: dict[Place, str] = field(default_factory=dict)

    def locate(self, place: Place) -> str:
        while place not in self.origins and place:
            place = place[:-1]
        return self.origins.get(place, f"environment '{self.name}'")


def _folder() -> Traversable:
    return resources.files("conf") / "environments"


def _lay(values: Mapping[str, Any], *, file: YamlFile, into: dict[str, Any], layers: _Layers, at: Place = ()) -> None:
    for key, value in values.items():
        layers.origins[(*at, key)] = file.locate((*at, key))
        if isinstance(value, Mapping):
            _lay(value, file=file, into=into.setdefault(key, {}), layers=layers, at=(*at, key))
        else:
            into[key] = value


def _override(key: str, text: str, layers: _Layers) -> None:
    path = ("spark", "options", key.removeprefix(_OPTIONS)) if key.startswith(_OPTIONS) else tuple(key.split("."))
    values: Any = layers.data
    for part in path[:-1]:
        if not isinstance(values.get(part), dict):
            values[part] = {}
        values = values[part]
    values[path[-1]] = None if text == "null" else text
    for depth in range(1, len(path) + 1):
        layers.origins[path[:depth]] = f"--set {key}={text}"
