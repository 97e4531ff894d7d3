"""What of a group was published, and what was last sent online: kept under the lake, so that nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from stores.offline import OfflineFile
from stores.storage import Storage


@dataclass(frozen=True)
class Target:
    """A feature group as it was created; one that was deleted and made again is another one."""

    arn: str
    created: str
    table: str
    """Where its offline files go: a URI that ends in `/data`."""

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Target | None:
        """From DescribeFeatureGroup's answer; None for a group without an offline store, which is none of ours."""
        table = answer.get("OfflineStoreConfig", {}).get("S3StorageConfig", {}).get("ResolvedOutputS3Uri")
        created = answer["CreationTime"]
        moment = created if isinstance(created, datetime) else datetime.fromtimestamp(created, UTC)
        return cls(answer["FeatureGroupArn"], moment.astimezone(UTC).isoformat(), table) if table else None


@dataclass(frozen=True)
class PublishedVersion:
    """One version of a day that is wholly in the offline store."""

    version: str
    table: str
    event_time: str
    write_time: str
    rows: int
    quarantined: int
    files: tuple[OfflineFile, ...]
    run_id: str


@dataclass(frozen=True)
class SentOnline:
    """The version of a day that was last sent online, or began to be and didn't end.

    `digests`: the files with a digest of every record that was written by it, or by the sending before until this one ends.
    """

    arn: str
    created: str
    as_of: str
    version: str
    features: tuple[str, ...]
    ended: bool
    dead_lettered: int
    digests: tuple[str, ...]
    run_id: str

    @property
    def whole(self) -> bool:
        """Whether every record of it is online."""
        return self.ended and not self.dead_lettered

    def finished(self, dead_lettered: int, digests: tuple[str, ...]) -> SentOnline:
        return replace(self, ended=True, dead_lettered=dead_lettered, digests=digests)

    def went_to(self, target: Target) -> bool:
        return (self.arn, self.created) == (target.arn, target.created)


class Published:
    """The log of one group: `published/<group>/<as_of>.json` has every version of a day that was published, oldest first."""

    def __init__(self, storage: Storage, group: str) -> None:
        self.group = group
        self._storage = storage
        self._folder = f"published/{group}"

    # ---- offline

    def days(self) -> list[date]:
        """The days of which a version was published, oldest first."""
        names = (file.path.removeprefix(f"{self._folder}/") for file in self._storage.list(self._folder))
        return sorted(date.fromisoformat(name.removesuffix(".json")) for name in names if "/" not in name and name[0] != "_")

    def versions(self, day: date) -> tuple[PublishedVersion, ...]:
        told = self._read(f"{day.isoformat()}.json")
        if told is None:
            return ()
        return tuple(PublishedVersion(**{**v, "files": tuple(OfflineFile(**f) for f in v["files"])}) for v in told["versions"])

    def find(self, day: date, version: str, target: Target) -> PublishedVersion | None:
        """The version, where it is what the target's table serves: published last, every file there; None where it isn't."""
        last = next((found for found in reversed(self.versions(day)) if found.table == target.table), None)
        if last is None or last.version != version:
            return None
        table, paths = self._storage.elsewhere(target.table), {file.path for file in last.files}
        folders = {path.rpartition("/")[0] for path in paths}
        there = {file.path for folder in folders for file in table.list(folder)}
        return last if paths <= there else None

    def times_before(self, day: date, version: str, target: Target) -> int:
        """How often the version was published before another one was: then its files are what was served, and stay."""
        here = [found.version for found in self.versions(day) if found.table == target.table]
        return here.count(version) - (here[-1:] == [version])

    def next_write_time(self, day: date, now: datetime) -> datetime:
        """`now`, or later, so that of two versions of a day the one published last has the greatest write time."""
        times = [datetime.fromisoformat(version.write_time) for version in self.versions(day)]
        return max([now, *(moment + timedelta(microseconds=1) for moment in times)])

    def begin(self, day: date, target: Target, paths: Iterable[str]) -> None:
        """Note which files are about to be written, so that a run that dies leaves none unknown."""
        self._write(f"_under_way/{day.isoformat()}.json", {"table": target.table, "files": sorted(paths)})

    def add(self, day: date, version: PublishedVersion) -> None:
        """All files of a version are there: from now on it is published. The same files written again are there once."""
        files = [file.path for file in version.files]
        others = [v for v in self.versions(day) if v.table != version.table or [file.path for file in v.files] != files]
        self._write(f"{day.isoformat()}.json", {"versions": [asdict(v) for v in (*others, version)]})
        self._storage.delete(f"{self._folder}/_under_way/{day.isoformat()}.json")

    def remove_leftovers(self) -> int:
        """Delete the offline files of runs that died before all files of a version were there; how many."""
        removed = 0
        for note in list(self._storage.list(f"{self._folder}/_under_way")):
            told = json.loads(self._storage.read(note.path))
            table = self._storage.elsewhere(told["table"])
            day = date.fromisoformat(note.path.rpartition("/")[2].removesuffix(".json"))
            kept = {file.path for version in self.versions(day) if version.table == told["table"] for file in version.files}
            for path in told["files"]:
                if path not in kept and table.exists(path):
                    table.delete(path)
                    removed += 1
            self._storage.delete(note.path)
        return removed

    # ---- online

    def sent(self) -> SentOnline | None:
        told = self._read("_online_sent.json")
        return None if told is None else SentOnline(**{**told, **{k: tuple(told[k]) for k in ("features", "digests")}})

    def begin_sending(self, sending: SentOnline) -> tuple[str, ...]:
        """Note that a sending begins; returns the digest files by which what is unchanged can be told.

        None of them for another feature group, or after a sending of another version that died: what is online then is unknown.
        """
        before = self.sent()
        known = before is not None and (before.arn, before.created) == (sending.arn, sending.created)
        known = known and before is not None and (before.ended or before.version == sending.version)
        digests = before.digests if before is not None and known else ()
        self._write("_online_sent.json", asdict(replace(sending, ended=False, digests=digests)))
        return digests

    def finish_sending(self, sending: SentOnline) -> None:
        """Note what was sent, and forget the digests of what was sent before."""
        self._write("_online_sent.json", asdict(sending))
        for file in list(self._storage.list(f"{self._folder}/_online_sent")):
            if file.path not in sending.digests:
                self._storage.delete(file.path)

    def digest_folder(self, run_id: str) -> str:
        return f"{self._folder}/_online_sent/{run_id}"

    def _read(self, name: str) -> Any:
        path = f"{self._folder}/{name}"
        return json.loads(self._storage.read(path)) if self._storage.exists(path) else None

    def _write(self, name: str, told: Any) -> None:
        self._storage.write(f"{self._folder}/{name}", json.dumps(told, indent=1).encode())
