"""Delta tables without Spark: the one place that opens them, with what deltalake needs to reach their storage."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.schema import Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from stores.storage import Storage


def open_delta(storage: Storage, path: str) -> DeltaTable | None:
    """The newest version of the table in the folder `path`; None where there is none."""
    uri, options = storage.uri(path), storage.delta_options()
    return DeltaTable(uri, storage_options=options) if DeltaTable.is_deltatable(uri, options) else None


def create_delta(
    storage: Storage,
    path: str,
    files: Sequence[AddAction],
    schema: pa.Schema,
    *,
    partition_by: Sequence[str],
    commit_properties: CommitProperties,
) -> None:
    """Make a table of files that are there. Raises CommitFailedError when another writer made it since we looked."""
    uri, options = storage.uri(path), storage.delta_options()
    try:
        create_table_with_add_actions(
            uri,
            Schema.from_arrow(schema),
            list(files),
            mode="error",
            partition_by=list(partition_by),
            commit_properties=commit_properties,
            storage_options=options,
        )
    except DeltaError as problem:
        if DeltaTable.is_deltatable(uri, options):
            raise CommitFailedError(str(problem)) from problem
        raise
