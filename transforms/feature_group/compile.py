"""Compiles the groups of a catalogue: what each needs is collected, sources are shared, and columns put together."""

from __future__ import annotations

from dataclasses import replace

from conf.catalogue import Catalogue
from conf.errors import Problems
from transforms.feature_group.assembly import Assembly
from transforms.feature_group.checker import Checker
from transforms.feature_group.compiled import Compiled, CompiledGroup, Stream, digest
from transforms.feature_group.functions import compile_function
from transforms.feature_group.library import GroupDraft, draft_group
from transforms.feature_group.meaning import column_versions
from transforms.feature_group.rollups import compile_rollups
from transforms.feature_group.streams import Streams
from transforms.feature_group.tables import source_meaning

__all__ = ["compile_groups", "source_meaning"]


def compile_groups(catalogue: Catalogue, zone: str) -> Compiled:
    """Compile every group of a catalogue. Raises DefinitionError with everything that can't be, each with its file and line.

    Columns made from columns are looked at once those are right.
    """
    streams, problems = Streams(), Problems()
    checkers = {name: Checker(group, catalogue, zone) for name, group in catalogue.groups.items()}
    later = {name: group for name, group in catalogue.groups.items() if group.is_later}
    library: dict[str, GroupDraft] = {}
    for name, checker in checkers.items():
        with problems.gather():
            if name not in later:
                library[name] = draft_group(checker, streams)
    problems.raise_all()
    assemblies = []
    for draft in library.values():
        with problems.gather():
            assemblies.append(Assembly(draft, library, later))
    problems.raise_all()
    finished = streams.finish()
    groups = {assembly.draft.group.name: assembly.finish(finished) for assembly in assemblies}
    compiled = Compiled(
        zone,
        groups,
        {stream.name: stream for stream in finished.values()},
        catalogue.sources,
        {name: compile_function(checkers[name]) for name, group in later.items() if group.function},
    )
    groups = {name: replace(group, version=_version(compiled, group)) for name, group in groups.items()}
    compiled = replace(compiled, groups=groups)
    return replace(compiled, rollups=compile_rollups(checkers, compiled))


def _version(compiled: Compiled, group: CompiledGroup) -> str:
    """The hash of what the group means: prose, comments and order don't matter, nor what nothing published is made from."""
    versions = column_versions(compiled, group)
    columns = sorted([column.name, column.type, versions[column.name]] for column in group.columns)
    history = sorted(_rows(compiled, compiled.streams[stream]) for stream, _, _ in group.presence)
    return digest([group.entity, compiled.zone, columns, history], 16)


def _rows(compiled: Compiled, stream: Stream) -> str:
    """The hash of which rows an entity has in a stream, whatever is asked of them."""
    parent = stream.parent
    joined = [parent.source, parent.on, parent.entity] if parent and parent.entity else None
    sources = [source_meaning(compiled.sources[name]) for name in stream.sources if name in compiled.sources]
    return digest([stream.source, stream.entity_sql, joined, [member.source for member in stream.members], sources])
