"""Definitions as text, compiled over the shipped sources."""

from __future__ import annotations

from conf.catalogue import Catalogue, load_catalogue
from conf.errors import DefinitionError
from conf.specs import FeatureGroup, UnionSource
from conf.yaml_file import load_model, parse_yaml
from transforms.describe import of_no_facts
from transforms.feature_group import Column, Compiled, CompiledGroup, compile_groups

SHIPPED = load_catalogue()
ZONE = "Asia/Kuala_Lumpur"


def compiled(*groups: str, union: str = "") -> Compiled:
    """Each text is a group's file, the first g.yaml, then h.yaml and so on; `union` is u.yaml."""
    files = [parse_yaml(text, f"{name}.yaml") for name, text in zip("ghi", groups, strict=False)]
    loaded = {group.name: group for group in (load_model(FeatureGroup, file) for file in files)}
    places = {f"FeatureGroup:{file.data['name']}": file for file in files}
    unions = {}
    if union:
        file = parse_yaml(union, "u.yaml")
        told = load_model(UnionSource, file)
        unions[told.name] = told
        places[f"UnionSource:{told.name}"] = file
    return compile_groups(Catalogue(SHIPPED.sources, loaded, places, unions), ZONE)


def group(*texts: str, union: str = "") -> CompiledGroup:
    """The first of them, compiled."""
    return next(iter(compiled(*texts, union=union).groups.values()))


def column(name: str, *texts: str, union: str = "") -> Column:
    return next(found for found in group(*texts, union=union).columns if found.name == name)


def of_nothing(name: str, *texts: str) -> str:
    """What a column says of an entity without facts; empty when that is null."""
    return of_no_facts(group(*texts), ZONE).get(name, "")


def problem(*texts: str, union: str = "") -> str:
    """What is said of a wrong definition; empty when nothing is wrong."""
    try:
        compiled(*texts, union=union)
    except DefinitionError as found:
        return str(found)
    return ""


def with_feature(feature: str, *, source: str = "bnpl_plans", kind: str = "aggregates", more: str = "") -> str:
    """A group `g` of customers with one feature (on line 9) of one input; `more`: lines of the input."""
    lines = [
        "name: g", "record_identifier: customer_id", "spine: customers", "inputs:", f"  - source: {source}",
        f"    {more}" if more else "    # nothing more", f"    {kind}:", "      # on the next line", f"      - {feature}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
