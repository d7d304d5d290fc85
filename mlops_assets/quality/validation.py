"""One Great Expectations context around one Spark data frame.

Spark does all the work. What reaches this process is counts, statistics and at most
:data:`MAX_SAMPLE` unexpected rows of an expectation: the result format ``COMPLETE``, which can
collect a key of every unexpected row, is never used. The first pass asks for counts only, because
Great Expectations then bundles them into few Spark jobs; rows are fetched afterwards, and only for
expectations that have unexpected ones.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from mlops_assets.config.expectations import ExpectationSpec

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MAX_SAMPLE = 10
COUNTS: dict[str, Any] = {"result_format": "BASIC", "partial_unexpected_count": 0}
ROWS: dict[str, Any] = {
    "result_format": "BASIC",
    "partial_unexpected_count": MAX_SAMPLE,
    "include_unexpected_rows": True,
}
ROWS_METRIC = ".unexpected_rows"
UNEXPECTED_VALUES_METRIC = "column.distinct_values.not_in_set"
MISSING_VALUES_METRIC = "column.distinct_values.missing_from_column"
POSITION = "position"


@dataclass(frozen=True)
class Evaluation:
    """Great Expectations' answer for one expectation.

    Attributes:
        passed: Its verdict.
        details: The fields of its ``result``.
        error: Text of the exception that it caught.
    """

    passed: bool
    details: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Sample:
    """Unexpected rows, and values that a column should (not) have."""

    rows: Sequence[Mapping[str, Any]] = ()
    unexpected_values: Sequence[Any] = ()
    missing_values: Sequence[Any] = ()


class Validation:
    """One ephemeral context with one batch: the whole data frame.

    The frame is not persisted: with bundled counts it is read about once, and columns that no
    expectation names are not read at all.
    """

    def __init__(self, frame: DataFrame) -> None:
        with _quiet():
            import great_expectations as gx

            self._gx = gx
            self._context = gx.get_context(mode="ephemeral", project_config=_in_memory())
            asset = _add_source(self._context, frame).add_dataframe_asset("frame")
            whole = asset.add_batch_definition_whole_dataframe("whole")
            self._request = whole.build_batch_request(batch_parameters={"dataframe": frame})
            self._batch = whole.get_batch(batch_parameters={"dataframe": frame})
        self._validator: Any = None

    def evaluate(self, specs: Mapping[int, ExpectationSpec]) -> dict[int, Evaluation]:
        """Evaluate expectations together in one run.

        Metrics that fail in one Spark job all get the text of the last failure, which may be
        about another expectation. So where several fail, each is evaluated once more, alone.
        """
        found = self._run(specs)
        failed = [position for position, one in found.items() if one.error is not None]
        if len(failed) > 1:
            for position in failed:
                found |= self._run({position: specs[position]})
        return found

    def sample(self, spec: ExpectationSpec) -> Sample:
        """At most :data:`MAX_SAMPLE` rows or values that were not as expected."""
        with _quiet():
            validator = self._get_validator()
            expectation = build_expectation(spec)
            dependencies = expectation.get_validation_dependencies(
                execution_engine=validator.execution_engine,
                runtime_configuration={"result_format": ROWS},
            ).metric_configurations
            wanted = {
                name: metric
                for name, metric in dependencies.items()
                if name.endswith(ROWS_METRIC)
                or name in (UNEXPECTED_VALUES_METRIC, MISSING_VALUES_METRIC)
            }
            resolved, _ = validator.compute_metrics(list(wanted.values()))
        values = {name: _plain(resolved.get(metric.id)) for name, metric in wanted.items()}
        rows = next((rows for name, rows in values.items() if name.endswith(ROWS_METRIC)), ())
        return Sample(
            rows=rows[:MAX_SAMPLE],
            unexpected_values=values.get(UNEXPECTED_VALUES_METRIC, ())[:MAX_SAMPLE],
            missing_values=values.get(MISSING_VALUES_METRIC, ())[:MAX_SAMPLE],
        )

    def _run(self, specs: Mapping[int, ExpectationSpec]) -> dict[int, Evaluation]:
        found: dict[int, Evaluation] = {}
        with _quiet():
            expectations = []
            for position, spec in specs.items():
                try:
                    expectations.append(build_expectation(spec, position))
                except (TypeError, ValueError) as error:
                    found[position] = Evaluation(passed=False, error=str(error))
            if expectations:
                found |= self._validate(expectations)
        return found

    def _validate(self, expectations: list[Any]) -> dict[int, Evaluation]:
        suite = self._gx.ExpectationSuite(name="expectations", expectations=expectations)
        outcome = self._batch.validate(suite, result_format=COUNTS)
        return {
            result.expectation_config.meta[POSITION]: Evaluation(
                passed=bool(result.success),
                details=dict(result.result),
                error=_exception_text(result.exception_info),
            )
            for result in outcome.results
        }

    def _get_validator(self) -> Any:
        if self._validator is None:
            self._validator = self._context.get_validator(batch_request=self._request)
        return self._validator


def _plain(found: Any) -> Sequence[Any]:
    """Spark answers with a list of rows, pandas with a frame."""
    if type(found).__module__.startswith("pandas"):
        records: Sequence[Any] = found.head(MAX_SAMPLE).to_dict("records")
        return records
    return found or ()


def _add_source(context: Any, frame: Any) -> Any:
    """Spark evaluates its own frames, and pandas, for small data without a JVM, its own."""
    if type(frame).__module__.startswith("pandas"):
        return context.data_sources.add_pandas("pandas")
    return context.data_sources.add_spark("spark", persist=False)


def _in_memory() -> Any:
    """A configuration that writes no files, sends no statistics and draws no progress bars."""
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
    )

    return DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars={"globally": False},
        analytics_enabled=False,
    )


def build_expectation(spec: ExpectationSpec, position: int = 0) -> Any:
    """Great Expectations' own object for an expectation.

    Raises:
        ValueError: Great Expectations refuses the arguments.
    """
    from great_expectations.expectations.registry import get_expectation_impl

    arguments = {
        argument: _without_dates(value)
        for argument, value in spec.arguments.items()
        if argument != "condition_parser"
    }
    return get_expectation_impl(spec.type)(**arguments, meta={POSITION: position})


def _without_dates(value: Any) -> Any:
    """Dates as ISO text: Great Expectations' model would cut the time from a ``datetime``."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_without_dates(item) for item in value]
    return value


def _exception_text(info: Mapping[str, Any] | None) -> str | None:
    """The first message in the two shapes that ``exception_info`` takes."""
    if not info:
        return None
    if "raised_exception" in info:
        return str(info.get("exception_message")) if info["raised_exception"] else None
    texts = (_exception_text(_as_mapping(part)) for part in info.values())
    return next((text for text in texts if text), None)


def _as_mapping(info: Any) -> Mapping[str, Any]:
    return info if isinstance(info, Mapping) else dict(info)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no log lines of Great Expectations, which may quote values.

    Its modules set levels of their own, so their lines are stopped on the way to the root logger.
    """
    logger = logging.getLogger("great_expectations")
    propagate, nowhere = logger.propagate, logging.NullHandler()
    logger.propagate = False
    logger.addHandler(nowhere)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.propagate = propagate
        logger.removeHandler(nowhere)
