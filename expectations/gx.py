"""Hands a suite and what was measured to Great Expectations, which judges each expectation and words the result.

Great Expectations by itself takes a Spark job or more for each expectation. Every expectation says which metrics it needs, and
judges them in `metrics_validate`; here they come from our own aggregation. Importing this takes seconds: import it where a
suite is judged, not at the top of a module.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from threading import Lock
from types import ModuleType
from typing import Any

from expectations.rules import Rule, Severity, Suite

_NOT_USED_HERE = ("altair", "scipy.stats")  # for plots and distributions: a third of the time of importing all
_ONE_AT_A_TIME = Lock()
"""Two threads that load a module when it is used may each find it half loaded."""


class _WhenUsed:
    """Finds these modules so that each is loaded when something of it is used."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in _NOT_USED_HERE else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def _loaded_when_used() -> Iterator[None]:
    sys.meta_path.insert(0, _WhenUsed)
    try:
        yield
    finally:
        sys.meta_path.remove(_WhenUsed)


os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
with warnings.catch_warnings(), _loaded_when_used():
    warnings.simplefilter("ignore")
    import great_expectations
    import great_expectations.expectations  # registers every core expectation
    from great_expectations.core import ExpectationSuiteValidationResult, RunIdentifier
    from great_expectations.execution_engine.sparkdf_execution_engine import SparkDFExecutionEngine
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity
    from great_expectations.validator.validation_statistics import calc_validation_statistics
logging.getLogger("great_expectations").setLevel(logging.WARNING)

MetricOf = Callable[[Rule, str], Any]
"""The value of a metric of Great Expectations, by the name with which a rule's expectation asks for it."""

_SEVERITIES: Mapping[Severity, FailureSeverity] = {
    "critical": FailureSeverity.CRITICAL,
    "error": FailureSeverity.WARNING,
    "warning": FailureSeverity.INFO,
}


def evaluate(suite: Suite, metric_of: MetricOf, *, run_id: str, asset: str, as_of: str, now: datetime) -> dict[str, Any]:
    """Let Great Expectations judge every rule, in order: its own suite validation result, as JSON has it.

    Each expectation's `meta` names our rule and its severity. `asset` and `as_of` say which table was judged, `now` when.
    """
    engine = SparkDFExecutionEngine(spark=_NoSession(), persist=False)
    with _ONE_AT_A_TIME:
        results = [_judge(rule, metric_of, engine) for rule in suite.rules]
    statistics = calc_validation_statistics(results)
    whole = ExpectationSuiteValidationResult(
        success=statistics.success,
        results=results,
        suite_name=suite.name,
        statistics={
            "evaluated_expectations": statistics.evaluated_expectations,
            "successful_expectations": statistics.successful_expectations,
            "unsuccessful_expectations": statistics.unsuccessful_expectations,
            "success_percent": statistics.success_percent,
        },
        meta={
            "great_expectations_version": great_expectations.__version__,
            "run_id": RunIdentifier(run_name=run_id, run_time=now),
            "validation_time": now.astimezone(UTC).isoformat(),
            "active_batch_definition": {
                "datasource_name": "lake",
                "data_connector_name": "snapshots",
                "data_asset_name": asset,
                "batch_identifiers": {"as_of": as_of},
            },
            "batch_markers": {},
            "batch_spec": {},
        },
    )
    told: dict[str, Any] = whole.to_json_dict()  # type: ignore[no-untyped-call]
    return told


class _NoSession:
    """In the place of a Spark session: the engine is only asked which metrics an expectation needs, and for no rows."""


def expectation_of(rule: Rule) -> Any:
    """The rule as an expectation of Great Expectations."""
    configuration = ExpectationConfiguration(
        type=rule.expectation,
        kwargs=dict(rule.kwargs),
        meta={"rule": rule.name, "severity": rule.severity},
        description=rule.words,
        severity=_SEVERITIES[rule.severity],
    )
    return configuration.to_domain_obj()


def _judge(rule: Rule, metric_of: MetricOf, engine: SparkDFExecutionEngine) -> Any:
    expectation = expectation_of(rule)
    asked = {"result_format": {"result_format": "COMPLETE" if rule.value is not None else "BASIC"}}
    needs = expectation.get_validation_dependencies(execution_engine=engine, runtime_configuration=asked)
    metrics = {metric.id: metric_of(rule, name) for name, metric in needs.metric_configurations.items()}
    return expectation.metrics_validate(metrics=metrics, runtime_configuration=asked, execution_engine=engine)
