"""What should not matter: one entity with a quarter of all events, facts that were amended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.data import LAST_DAY
from bench.definitions import write_definitions
from bench.engines import OURS
from bench.race import Bench, Ratio, again, cpu

_HEAVY_GOAL, _AMENDED_GOAL = 1.2, 1.15
_LABELS_AN_EVENT, _LABELS_ON_HEAVY = 20, 0.1


def heavy_entity(bench: Bench) -> Sequence[Ratio]:
    """The same number of events and labels, with and without an entity that has a quarter of them and a tenth of the labels."""
    heavy = replace(bench.shape, heavy=0.25)
    count = bench.shape.events // _LABELS_AN_EVENT
    with_it, without = bench.data(heavy), bench.data()
    on_heavy = int(count * _LABELS_ON_HEAVY)
    files = with_it.labels(count, on_heavy=on_heavy), without.labels(count)
    with bench.session(OURS, with_it) as uneven, bench.session(OURS, without) as even:
        snapshots = bench.race({"with": again(uneven, "snapshot", LAST_DAY), "without": again(even, "snapshot", LAST_DAY)})
        labelled = bench.race({"with": again(uneven, "labels", files[0]), "without": again(even, "labels", files[1])})
    sizes = {**bench.sizes, "labels": count, "labels_on_it": on_heavy}
    what = "one entity with 25 % of all events"
    return [
        Ratio(
            "heavy_entity", f"{what}: {told}", "the same without", _HEAVY_GOAL, cpu(costs["with"]), cpu(costs["without"]), sizes
        )
        for told, costs in (("a snapshot", snapshots), (f"labels, {on_heavy:,} of {count:,} on it", labelled))
    ]


def amended(bench: Bench) -> Sequence[Ratio]:
    """Of the same events, 2 % get a second version some days later; both ledgers keep versions."""
    conf = write_definitions(bench.work / "conf-versions", versions=True)
    some, none = (bench.data(replace(bench.shape, versions=True, amended=share)) for share in (0.02, 0.0))
    with bench.session(OURS, some, conf=conf) as changed, bench.session(OURS, none, conf=conf) as plain:
        costs = bench.race({"2 %": again(changed, "snapshot", LAST_DAY), "none": again(plain, "snapshot", LAST_DAY)})
    what = "a snapshot, 2 % amended facts"
    return [Ratio("amended", what, "none", _AMENDED_GOAL, cpu(costs["2 %"]), cpu(costs["none"]), bench.sizes)]
