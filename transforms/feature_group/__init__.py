"""Compiles feature groups into the facts to prepare, the windows to answer and the expressions to derive. No Spark."""

from __future__ import annotations

from transforms.feature_group.compile import compile_groups, source_meaning
from transforms.feature_group.compiled import (
    LIFETIME,
    AnyGroup,
    Beside,
    Clock,
    Column,
    Compiled,
    CompiledFunctionGroup,
    CompiledGroup,
    CompiledRollup,
    DailyColumn,
    DailyPart,
    DerivedColumn,
    FactValue,
    LaterGroup,
    Member,
    Parent,
    RolledColumn,
    RolledMembers,
    Settlement,
    Stream,
    WindowColumn,
)

__all__ = [
    "LIFETIME",
    "AnyGroup",
    "Beside",
    "Clock",
    "Column",
    "Compiled",
    "CompiledFunctionGroup",
    "CompiledGroup",
    "CompiledRollup",
    "DailyColumn",
    "DailyPart",
    "DerivedColumn",
    "FactValue",
    "LaterGroup",
    "Member",
    "Parent",
    "RolledColumn",
    "RolledMembers",
    "Settlement",
    "Stream",
    "WindowColumn",
    "compile_groups",
    "source_meaning",
]
