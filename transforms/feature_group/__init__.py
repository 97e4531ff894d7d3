"""Compiles feature groups into the facts to prepare, the windows to answer and the expressions to derive. No Spark."""

from __future__ import annotations

from transforms.feature_group.compile import compile_groups, source_meaning
from transforms.feature_group.compiled import (
    LIFETIME,
    AnyGroup,
    Clock,
    Column,
    Compiled,
    CompiledFunctionGroup,
    CompiledGroup,
    DailyColumn,
    DailyPart,
    DerivedColumn,
    FactValue,
    Member,
    Parent,
    Settlement,
    Stream,
    WindowColumn,
)

__all__ = [
    "LIFETIME",
    "AnyGroup",
    "Clock",
    "Column",
    "Compiled",
    "CompiledFunctionGroup",
    "CompiledGroup",
    "DailyColumn",
    "DailyPart",
    "DerivedColumn",
    "FactValue",
    "Member",
    "Parent",
    "Settlement",
    "Stream",
    "WindowColumn",
    "compile_groups",
    "source_meaning",
]
