"""The feature groups that definitions ask for, as the Feature Store knows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conf.settings import Settings
    from conf.specs import ColumnType
    from stores.feature_groups import WantedFeatureGroup
    from stores.protocols import FeatureType
    from transforms.feature_group import AnyGroup


def features_of(group: AnyGroup) -> dict[str, FeatureType]:
    """Every feature of a group as the Feature Store types it, in the order in which a new feature group has them."""
    first: dict[str, FeatureType] = {group.entity: "String", "event_time": "String", "has_history": "Integral"}
    last: dict[str, FeatureType] = {"as_of": "String", "time_zone": "String", "snapshot_version": "String"}
    return first | {column.name: _feature_type(column.type) for column in group.columns} | last


def online_features(group: AnyGroup) -> dict[str, FeatureType]:
    """Those that are sent online."""
    online = {group.entity, "event_time", "has_history", *(column.name for column in group.columns if column.online)}
    return {name: kind for name, kind in features_of(group).items() if name in online}


def is_online(group: AnyGroup) -> bool:
    """A group none of whose columns is online has no online store."""
    return any(column.online for column in group.columns)


def wanted_feature_group(group: AnyGroup, settings: Settings) -> WantedFeatureGroup:
    """The feature group that a definition asks for."""
    from stores.feature_groups import WantedFeatureGroup
    from stores.protocols import FeatureDefinition

    return WantedFeatureGroup(
        name=group.name,
        record_identifier=group.entity,
        event_time="event_time",
        features=tuple(FeatureDefinition(name, kind) for name, kind in features_of(group).items()),
        online=is_online(group),
        offline_uri=offline_root(settings),
        role_arn=settings.feature_store.role_arn,
    )


def offline_root(settings: Settings) -> str:
    """The offline store's root as a URI: SageMaker takes no bare path."""
    root = settings.offline_uri
    if root.startswith("s3a://"):
        return "s3://" + root.removeprefix("s3a://")
    return root if "://" in root else Path(root).expanduser().absolute().as_uri()


def _feature_type(kind: ColumnType) -> FeatureType:
    if kind in ("integer", "boolean"):
        return "Integral"
    return "Fractional" if kind in ("number", "money") else "String"
