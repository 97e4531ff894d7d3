"""Feature groups, tags and records on disk: one SQLite file in WAL mode.

A commit survives the death of the process at once (`kill -9`); it survives a power cut only when opened `durable`,
at the price of a flush to disk now and then (measured: 20-45 ms at the 99th percentile of writes).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from stores.embedded.feature_group import FeatureGroup, Json, StoredRecord

_TABLES = """
create table if not exists groups (
    number integer primary key autoincrement, name text not null unique, document blob not null);
create table if not exists tags (arn text, key text, value text not null, primary key (arn, key));
create table if not exists records (
    group_number integer, identifier text, event_time text not null, expires_at integer, value blob,
    primary key (group_number, identifier));
"""
# `>=`: an equal event time replaces, an older one is accepted and changes nothing.
_UPSERT = """
insert into records values (?, ?, ?, ?, ?)
on conflict (group_number, identifier) do update
set event_time = excluded.event_time, expires_at = excluded.expires_at, value = excluded.value
where excluded.event_time >= records.event_time or records.expires_at <= ?
"""
_SELECT = "select identifier, event_time, value, expires_at from records where group_number = ?"


class Storage:
    """The only writer of its file; used from one thread."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "feature_store.sqlite", isolation_level=None, check_same_thread=False)
        self._db.executescript(
            f"pragma journal_mode = wal; pragma synchronous = {'normal' if durable else 'off'};"
            "pragma cache_size = -65536; pragma mmap_size = 268435456; pragma busy_timeout = 30000;" + _TABLES
        )
        self._groups = {
            name: FeatureGroup(number, orjson.loads(document))
            for number, name, document in self._db.execute("select number, name, document from groups")
        }

    def close(self) -> None:
        self._db.close()

    @property
    def groups(self) -> Mapping[str, FeatureGroup]:
        return self._groups

    def create_group(self, name: str, document: Json, tags: Mapping[str, str]) -> FeatureGroup:
        with self._transaction():
            cursor = self._db.execute("insert into groups (name, document) values (?, ?)", (name, orjson.dumps(document)))
            assert cursor.lastrowid is not None
            group = FeatureGroup(cursor.lastrowid, document)
            self._insert_tags(group.arn, tags)
        self._groups[name] = group
        return group

    def replace_document(self, group: FeatureGroup, document: Json) -> None:
        self._db.execute("update groups set document = ? where number = ?", (orjson.dumps(document), group.number))
        self._groups[group.name] = FeatureGroup(group.number, document)

    def drop_group(self, group: FeatureGroup) -> None:
        with self._transaction():
            self._db.execute("delete from groups where number = ?", (group.number,))
            self._db.execute("delete from records where group_number = ?", (group.number,))
            self._db.execute("delete from tags where arn = ?", (group.arn,))
        del self._groups[group.name]

    def tags(self, arn: str) -> dict[str, str]:
        return dict(self._db.execute("select key, value from tags where arn = ? order by key", (arn,)))

    def add_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        with self._transaction():
            self._insert_tags(arn, tags)

    def delete_tags(self, arn: str, keys: Iterable[str]) -> None:
        self._db.executemany("delete from tags where arn = ? and key = ?", [(arn, key) for key in keys])

    def write(self, records: Sequence[tuple[FeatureGroup, StoredRecord]], *, now: float) -> None:
        """Write in order and in one transaction; of one identifier, the newest event time stays."""
        rows = [
            (group.number, record.identifier, record.event_time, record.expires_at, record.values, now)
            for group, record in records
        ]
        if len(rows) == 1:
            self._db.execute(_UPSERT, rows[0])
            return
        with self._transaction():
            self._db.executemany(_UPSERT, rows)

    def read(self, group: FeatureGroup, identifier: str, *, now: float) -> StoredRecord | None:
        """The record of an identifier, soft-deleted ones included; None when there is none or it has expired."""
        row = self._db.execute(_SELECT + " and identifier = ?", (group.number, identifier)).fetchone()
        record = None if row is None else StoredRecord(*row)
        if record is None or (record.expires_at is not None and record.expires_at <= now):
            return None
        return record

    def remove(self, group: FeatureGroup, identifier: str) -> None:
        self._db.execute("delete from records where group_number = ? and identifier = ?", (group.number, identifier))

    def identifiers(self, group: FeatureGroup, *, after: str, limit: int, deleted: bool, now: float) -> list[str]:
        """Up to `limit` identifiers greater than `after`, in order; soft-deleted ones only with `deleted`."""
        rows = self._db.execute(
            "select identifier from records where group_number = ? and identifier > ? and (value is not null or ?)"
            " and (expires_at is null or expires_at > ?) order by identifier limit ?",
            (group.number, after, deleted, now, limit),
        )
        return [identifier for (identifier,) in rows]

    def _insert_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        self._db.executemany("insert or replace into tags values (?, ?, ?)", [(arn, key, value) for key, value in tags.items()])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")
