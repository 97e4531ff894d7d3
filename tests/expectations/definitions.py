"""A small source and group whose suite fits on a screen."""

from __future__ import annotations

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, Source
from transforms.feature_group import Compiled, compile_groups

ZONE = "Asia/Kuala_Lumpur"

PLANS = Source.model_validate(
    {
        "name": "plans",
        "format": "csv",
        "location": "plans/*.csv",
        "key": ["plan_id"],
        "version": "recorded_at",
        "event_time": "created_at",
        "known_time": "recorded_at",
        "columns": {
            "plan_id": {"type": "string", "required": True},
            "customer_id": {"type": "string", "required": True},
            "provider": {"type": "string", "values": ["atome", "grab"]},
            "amount": {"type": "money", "minimum": "0"},
            "net": "money",
            "share": {"type": "number", "minimum": "0", "maximum": "1"},
            "phone": {"type": "string", "personal": "drop"},
            "national_id": {"type": "string", "personal": "hmac", "values": ["x"]},
            "created_at": {"type": "timestamp", "required": True},
            "recorded_at": {"type": "timestamp", "required": True},
        },
    }
)


def group(*aggregates: dict[str, object], states: tuple[dict[str, object], ...] = (), derived: tuple[dict[str, object], ...] = ()) -> FeatureGroup:  # fmt: skip
    """A group of customers over `plans`."""
    return FeatureGroup.model_validate(
        {
            "name": "customer_plans",
            "record_identifier": "customer_id",
            "spine": "plans",
            "inputs": [{"source": "plans", "aggregates": aggregates, "states": states}],
            "derived": derived,
        }
    )


def catalogue_of(*definitions: FeatureGroup) -> tuple[Catalogue, Compiled]:
    catalogue = Catalogue({"plans": PLANS}, {definition.name: definition for definition in definitions})
    return catalogue, compile_groups(catalogue, ZONE)
