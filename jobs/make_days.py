"""Makes versions of days: answers them or calls the function that does, compares them with what is current, commits them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from conf.errors import PublishError
from jobs.due import Ledgers, Wanted
from stores.snapshots import Kind, Restatement, Snapshot, SnapshotFile, SnapshotTable, sort_by_day
from transforms.answer import snapshot_schema

if TYPE_CHECKING:
    from jobs.function_groups import FunctionCall
    from jobs.rollup_groups import RollupCall
    from jobs.workers import Workers
    from jobs.writers import Writer
    from stores.facts import BucketReader
    from stores.lake import Lake
    from stores.lease import Lease
    from transforms.feature_group import Compiled


@dataclass(frozen=True)
class Maker:
    """Makes versions of days from facts that are up to date, under the leases on the groups' tables."""

    compiled: Compiled
    ledgers: Ledgers
    lake: Lake
    workers: Workers
    run_id: str
    readers: Mapping[str, BucketReader]
    leases: Mapping[str, Lease]
    kind: Kind
    writer: Writer

    def make(self, work: Sequence[Wanted]) -> Iterator[tuple[Snapshot, bool]]:
        """Answer, compare with what is current, commit: each version, oldest day first, and whether the current one stands.

        Functions and rollups come after the groups that they read, and find out which versions of these there are then.
        """
        yield from self._commit([wanted for wanted in work if wanted.group in self.compiled.groups], self._answer)
        later = {wanted.group for wanted in work if wanted.group in self.compiled.later}
        for name in self.ledgers.in_order(later):
            for wanted in work:  # one after the other: the days before one that fails are kept
                if wanted.group == name and (refreshed := self._refreshed(wanted)):
                    yield from self._commit([refreshed], self._call)

    def _commit(
        self, work: Sequence[Wanted], compute: Callable[[Sequence[Wanted]], dict[Wanted, tuple[SnapshotFile, ...]]]
    ) -> Iterator[tuple[Snapshot, bool]]:
        """The days before one without any row, which is a mistake."""
        kept = {wanted: found for wanted in work if (found := self._table(wanted).find(wanted.day, wanted.version))}
        files = {wanted: found.files for wanted, found in kept.items()}
        files |= compute([wanted for wanted in work if wanted not in kept])
        versions = {wanted: self._version(wanted, files[wanted]) for wanted in work}
        without_rows = next((wanted for wanted in work if not versions[wanted].rows), None)
        if without_rows is not None:
            work = work[: work.index(without_rows)]
        restatements = self._compare({wanted: versions[wanted] for wanted in work})
        made = {wanted: replace(versions[wanted], restates=restatements.get(wanted)) for wanted in work}
        stands = {wanted for wanted, restated in restatements.items() if restated.is_none}
        self._commit_new({wanted: made[wanted] for wanted in work if wanted not in kept and wanted not in stands})
        for wanted in work:
            table, lease = self._table(wanted), self._lease(wanted.group)
            if wanted in stands:
                assert wanted.current is not None
                yield table.confirm(wanted.current, made[wanted], lease), True
                continue
            if wanted in kept:
                table.restore(made[wanted], lease)
            yield made[wanted], False
        if without_rows is not None:
            group = without_rows.group
            why = "is any row a member?" if group in self.compiled.rollups else "is its spine's source empty?"
            raise PublishError(f"{group}: no entity has a row as of {without_rows.day}; {why}")

    def _commit_new(self, made: Mapping[Wanted, Snapshot]) -> None:
        """The days of a group together: each commit reads the log of all before it."""
        for group in dict.fromkeys(wanted.group for wanted in made):
            snapshots = [snapshot for wanted, snapshot in made.items() if wanted.group == group]
            table = SnapshotTable(self.lake.storage, group, self.kind)
            table.commit(snapshots, snapshot_schema(self.compiled.group(group)), self._lease(group))

    def _lease(self, group: str) -> Lease:
        return self.leases[f"{self.kind}/{group}"]

    def _refreshed(self, wanted: Wanted) -> Wanted | None:
        """With the version that comes of the snapshots as they are now; None where the current one stands for it."""
        reads = {name: snapshot.version for name, snapshot in self._reads(wanted).items()}
        if self.kind == "hindsight":
            return replace(wanted, version=self.ledgers.version_with_hindsight(wanted.group, wanted.day, reads))
        version = self.ledgers.version_of(wanted.group, wanted.day, reads)
        if wanted.current is not None and wanted.current.stands_for(version):
            return None
        return replace(wanted, version=version)

    def _reads(self, wanted: Wanted) -> dict[str, Snapshot]:
        """The snapshots of the day that a function or rollup reads."""
        tables = {name: SnapshotTable(self.lake.storage, name, self.kind) for name in self.ledgers.groups_read(wanted.group)}
        return {name: found for name, table in tables.items() if (found := table.current(wanted.day)) is not None}

    def _call(self, work: Sequence[Wanted]) -> dict[Wanted, tuple[SnapshotFile, ...]]:
        files = {}
        for wanted in work:
            self._table(wanted).begin({wanted.day: wanted.version}, self.run_id)
            files[wanted] = self._later(wanted).run()
        return files

    def _later(self, wanted: Wanted) -> FunctionCall | RollupCall:
        from jobs.function_groups import FunctionCall
        from jobs.rollup_groups import RollupCall

        reads = self._reads(wanted)
        rollup = self.compiled.rollups.get(wanted.group)
        if rollup is not None:
            zone, storage = self.compiled.zone, self.lake.storage
            return RollupCall(rollup, wanted.day, wanted.version, reads, zone, storage, self.workers, self.kind, self.writer)
        group = self.compiled.functions[wanted.group]
        return FunctionCall(
            group, wanted.day, wanted.version, reads, self.compiled, self.lake, self.workers.spark(), self.kind, self.writer
        )

    def _table(self, wanted: Wanted) -> SnapshotTable:
        return SnapshotTable(self.lake.storage, wanted.group, self.kind)

    def _answer(self, work: Sequence[Wanted]) -> dict[Wanted, tuple[SnapshotFile, ...]]:
        """The files of each version, the groups of an entity together."""
        from jobs.answer_buckets import BucketTask

        files: dict[Wanted, tuple[SnapshotFile, ...]] = {}
        for entity in dict.fromkeys(self.compiled.groups[wanted.group].entity for wanted in work):
            mine = [wanted for wanted in work if self.compiled.groups[wanted.group].entity == entity]
            days: dict[str, dict[date, str]] = {}
            for wanted in mine:
                days.setdefault(wanted.group, {})[wanted.day] = wanted.version
            for group, versions in days.items():
                SnapshotTable(self.lake.storage, group, self.kind).begin(versions, self.run_id)
            groups = tuple(self.compiled.groups[name] for name in days)
            streams = {stream: self.readers[stream] for group in groups for stream in group.streams}
            task = BucketTask(self.lake.storage, self.compiled.zone, groups, days, streams, self.kind)
            written = {group: sort_by_day(some) for group, some in self.writer.answers(task).items()}
            files |= {wanted: written[wanted.group].get(wanted.day.isoformat(), ()) for wanted in mine}
        return files

    def _version(self, wanted: Wanted, files: tuple[SnapshotFile, ...]) -> Snapshot:
        return Snapshot(
            group=wanted.group,
            as_of=wanted.day.isoformat(),
            version=wanted.version,
            definition=self.compiled.group(wanted.group).version,
            curated=self.ledgers.newest(wanted.group),
            run_id=self.run_id,
            files=files,
            groups={name: snapshot.version for name, snapshot in self._reads(wanted).items()},
            kind=self.kind,
        )

    def _compare(self, versions: Mapping[Wanted, Snapshot]) -> dict[Wanted, Restatement]:
        """How each version that replaces another differs from it, a task each."""
        from stores.differences import Comparison

        replacing = {wanted: made for wanted, made in versions.items() if wanted.current is not None}
        calls = []
        for wanted, made in replacing.items():
            assert wanted.current is not None
            path = self._table(wanted).diff_path(wanted.day, wanted.current.version, wanted.version)
            entity = self.compiled.group(wanted.group).entity
            comparison = Comparison(self.lake.storage, entity, wanted.current, made, wanted.reasons, path)
            calls.append(partial(Comparison.restatement, comparison))
        told = self.writer.run(calls)
        return {wanted: Restatement.of(answer) for wanted, answer in zip(replacing, told, strict=True)}
