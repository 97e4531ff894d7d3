"""The first line of a run and the table at its end: what was read, kept, computed and published, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.console import open_console, show_table
from stores.storage import is_s3

if TYPE_CHECKING:
    from rich.console import Console

    from conf.settings import S3Settings, Settings
    from jobs.pipeline import Pipeline
    from jobs.summary import Summary

_SOURCE_COLUMNS = ("files", "read", "kept", "duplicates", "quarantined", "late")
_GROUP_COLUMNS = ("rows", "quarantined", "held_back", "published", "written", "skipped", "dead_lettered")


def show_start(job: Pipeline) -> None:
    """Say on stderr what is about to be done."""
    request = job.request
    asked = sorted({day for days in request.days.values() for day in days}) or [request.last]
    days = f"{asked[0]} to {asked[-1]}" if len(asked) > 1 else f"{asked[0]}"
    columns = sum(len(request.compiled.group(group).columns) for group in request.groups)
    sources = sum(source.is_delivered for source in request.catalogue.sources.values())
    open_console().print(
        f"[bold]etr pipeline[/] as of {days} ({request.settings.time_zone}): {sources} sources from "
        f"{request.settings.raw}, {len(request.groups)} feature groups with {columns} columns into {request.settings.lake}",
        highlight=False,
    )
    for group, why in request.left_out.items():
        open_console().print(f"{group} is left out: {why}", highlight=False)


def show_result(job: Pipeline, summary: Summary, seconds: float) -> None:
    """The tables of a run on stderr, and what to try next."""
    console = open_console()
    if summary.counts.get("changed") == 0:
        console.print("Nothing changed: every file was taken in, every day is computed and published.", highlight=False)
    else:
        _show(console, "ledgers", _SOURCE_COLUMNS, _those(summary.tables, "curated/"))
        _show(console, "feature groups", _GROUP_COLUMNS, _those(summary.tables, "snapshots/"))
    quarantined = summary.counts.get("quarantined", 0)
    settings = job.request.settings
    lines = [f"{seconds:,.0f} s; lake: {settings.lake}; offline store: {settings.offline_uri}"]
    if quarantined:
        lines.append(f"{quarantined:,} rows in quarantine, each with its reason: {settings.lake}/quarantine/{job.run_id}")
    if restated := summary.counts.get("restated", 0):
        values = summary.counts["changed_values"]
        lines.append(f"{restated:,} days restated, in which {values:,} values differ: {settings.lake}/snapshots/_diffs")
    console.print(*lines, sep="\n", highlight=False)
    if commands := _next(job):
        console.print("Next:", *(f"  {command}" for command in commands), sep="\n", highlight=False, markup=False)


def _next(job: Pipeline) -> Sequence[str]:
    settings = job.request.settings
    if not job.request.groups:
        return ()
    online = [name for name in job.request.groups if job.request.catalogue.groups[name].online]
    group = (online or job.request.groups)[-1]
    commands = []
    if online:
        identifier = _some_identifier(job, group) or "ID"
        commands.append(" ".join((f".venv/bin/etr get {group} {identifier}", *where_records_are(settings))))
    if table := _offline_table(job, group):
        commands.append(read_offline(table, settings.s3))
    if settings.feature_store.embedded:
        commands.append(f".venv/bin/etr serve --data {settings.lake}/feature_store --print-env")
    return commands


def where_records_are(settings: Settings) -> list[str]:
    """The arguments by which another command finds the same Feature Store: what its environment's file doesn't say."""
    from conf.settings import load_settings

    usual = load_settings(settings.environment)
    arguments = ["--env", settings.environment] if settings.environment != "local" else []
    if settings.feature_store.embedded:
        return [*arguments, "--lake", settings.lake] if settings.lake != usual.lake else arguments
    told = {
        "feature_store.endpoint": (settings.feature_store.endpoint, usual.feature_store.endpoint),
        "offline_store.region": (settings.offline_store.region, usual.offline_store.region),
    }
    return [*arguments, *(f"--set {key}={now or 'null'}" for key, (now, then) in told.items() if now != then)]


def read_offline(table: str, s3: S3Settings) -> str:
    """A command that shows rows of the offline files below `table`, an address in S3 or a folder, in which `*` may stand."""
    if not is_s3(table):
        return _python(f"import duckdb; print(duckdb.sql(\\\"select * from '{table}/*/*/*/*/*.parquet' limit 5\\\"))")
    scheme, _, host = (s3.endpoint or "").rstrip("/").partition("://")
    asked = {"scheme": scheme, "endpoint_override": host, "region": s3.region}
    query = "&".join(f"{key}={value}" for key, value in asked.items() if value)
    address = f"s3://{table.partition('://')[2]}{'?' if query else ''}{query}"
    return _python(f"import duckdb, pyarrow.dataset as d; t = d.dataset('{address}'); print(duckdb.sql('from t limit 5'))")


def _python(code: str) -> str:
    return f'.venv/bin/python -c "{code}"'


def _offline_table(job: Pipeline, group: str) -> str | None:
    """Where the offline files of a group are; in S3, which knows no `*`, where they were published last, if they were."""
    from stores.published import Published

    uri = job.request.settings.offline_uri
    if not is_s3(uri):
        return f"{uri}/*/sagemaker/*/offline-store/{group}-*/data"
    published = Published(job.request.lake.storage, group).versions(job.request.days[group][-1])
    return published[-1].table if published else None


def _some_identifier(job: Pipeline, group: str) -> str | None:
    import pyarrow.parquet as pq

    from stores.snapshots import SnapshotTable

    storage = job.request.lake.storage
    snapshot = SnapshotTable(storage, group).current(job.request.days[group][-1])
    if snapshot is None or not snapshot.files:
        return None
    entity = job.request.compiled.group(group).entity
    with storage.open_input(snapshot.files[0].path) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(columns=[entity, "has_history"]):
            if True in (history := batch["has_history"].to_pylist()):
                return str(batch[entity][history.index(True)])
    return None


def _those(tables: Mapping[str, Any], prefix: str) -> dict[str, Mapping[str, Any]]:
    those = {name.removeprefix(prefix): told for name, told in tables.items() if name.startswith(prefix)}
    return {name: told for name, told in those.items() if "left_out" not in told}


def _show(console: Console, title: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> None:
    texts = {name: [f"{told.get(column, 0):,}" for column in columns] for name, told in rows.items()}
    totals = [sum(told.get(column, 0) for told in rows.values()) for column in columns]
    show_table(console, title, columns, texts | {"[bold]all": [f"[bold]{total:,}" for total in totals]})
