"""Validate a Spark data frame against expectations, all at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlops_assets.config.expectations import ExpectationSpec, unique_check_names
from mlops_assets.config.problems import nearest
from mlops_assets.errors import QualityError
from mlops_assets.quality.plain import to_plain
from mlops_assets.quality.privacy import MASK, hide_error, hide_observed, hide_row, is_private
from mlops_assets.quality.result import ExpectationResult
from mlops_assets.quality.validation import Evaluation, Sample, Validation

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["ExpectationResult", "raise_for_errors", "validate"]

MAX_DISTINCT = 100_000
COLLECTS_DISTINCT_VALUES = frozenset(
    {
        "expect_column_kl_divergence_to_be_less_than",
        "expect_column_most_common_value_to_be_in_set",
    }
)
"""Expectations for which Great Expectations collects every distinct value."""
MAX_SAMPLE_COLUMNS = 20
MAX_LISTED = 20


def validate(
    df: DataFrame,
    expectations: Sequence[ExpectationSpec],
    *,
    pii: Collection[str],
    where: str,
) -> list[ExpectationResult]:
    """Evaluate expectations on all rows, in one Great Expectations run.

    A frame without rows passes expectations about rows, with a note, and fails those about
    statistics, which it does not have. The frame is read once or twice: give one that is cheap to
    read, such as Parquet.

    Args:
        df: The data.
        expectations: What to expect.
        pii: Personal columns: none of their values is in the results.
        where: What the data are, for errors.

    Returns:
        One result for each expectation, in their order.

    Raises:
        QualityError: Great Expectations gave no answer for an expectation.
    """
    names = unique_check_names(expectations)
    problems = {i: _obstacle(df, spec) for i, spec in enumerate(expectations)}
    sound = {i: spec for i, spec in enumerate(expectations) if problems[i] is None}
    evaluations: dict[int, Evaluation] = {}
    validation = Validation(df) if sound else None
    if validation:
        evaluations = validation.evaluate(sound)
    results = []
    for position, (name, spec) in enumerate(zip(names, expectations, strict=True)):
        private = is_private(spec.columns, pii)
        problem = problems[position]
        if problem is not None:
            results.append(ExpectationResult(spec, name, False, error=problem, private=private))
            continue
        evaluation = evaluations.get(position)
        if evaluation is None or validation is None:
            raise QualityError("no answer from Great Expectations", where=where, found=name)
        sample = validation.sample(spec) if _has_unexpected(evaluation) else Sample()
        results.append(_result(spec, name, evaluation, sample, pii))
    return results


def raise_for_errors(results: Sequence[ExpectationResult], where: str) -> None:
    """Stop when an expectation with severity ``error`` failed.

    Raises:
        QualityError: With every such expectation, what was expected and what was found.
    """
    failed = [result for result in results if result.blocking]
    if not failed:
        return
    names = ", ".join(result.check_name for result in failed[:MAX_LISTED])
    more = f" and {len(failed) - MAX_LISTED} more" if len(failed) > MAX_LISTED else ""
    raise QualityError(
        f"{len(failed)} of {len(results)} expectations failed with severity error: {names}{more}",
        where=where,
        found=_listed([(result.check_name, result.found) for result in failed]),
        expected=_listed([(result.check_name, result.expected) for result in failed]),
        fix="repair the data, or change the expectation under checks: (severity: warn only shows)",
    )


def _listed(texts: Sequence[tuple[str, str]]) -> str:
    """One line for each, cut so that all of them fit into one error."""
    length = max(60, 1800 // max(1, min(len(texts), MAX_LISTED)) - 10)
    lines = [f"{name}: {text}" for name, text in texts[:MAX_LISTED]]
    return "\n    ".join(
        line if len(line) <= length else f"{line[: length - 1]}…" for line in lines
    )


def _obstacle(df: DataFrame, spec: ExpectationSpec) -> str | None:
    """Why an expectation cannot be evaluated on this frame, or None."""
    missing = sorted(spec.columns - set(df.columns))
    if missing:
        hint = nearest(missing[0], df.columns)
        text = f"the data have no column {', '.join(missing)}"
        return f"{text}; did you mean {hint}?" if hint else text
    if spec.type in COLLECTS_DISTINCT_VALUES:
        column = spec.arguments["column"]
        distinct = df.select(column).distinct().limit(MAX_DISTINCT + 1).count()
        if distinct > MAX_DISTINCT:
            return f"{column} has more than {MAX_DISTINCT:,} distinct values, too many to compare"
    return None


def _has_unexpected(evaluation: Evaluation) -> bool:
    counts = (evaluation.details.get(key) for key in ("unexpected_count", "missing_count"))
    if evaluation.error is not None:
        return False
    if "missing_percent" in evaluation.details:
        return bool(evaluation.details.get("unexpected_count"))
    return any(counts)


def _result(
    spec: ExpectationSpec, name: str, evaluation: Evaluation, sample: Sample, pii: Collection[str]
) -> ExpectationResult:
    private = is_private(spec.columns, pii)
    if evaluation.error is not None:
        error = hide_error(evaluation.error, pii)
        return ExpectationResult(spec, name, False, error=error, private=private)
    details = evaluation.details
    observed = to_plain(_observed(details, sample))
    elements = details.get("element_count")
    return ExpectationResult(
        spec,
        name,
        evaluation.passed,
        observed=hide_observed(spec.type, observed) if private else observed,
        unexpected_count=_unexpected_count(details),
        unexpected_percent=to_plain(details.get("unexpected_percent")),
        element_count=elements,
        missing_count=details.get("missing_count") if elements is not None else None,
        unexpected_sample=_shown_rows(spec, sample, pii),
        note=_note(evaluation),
        private=private,
    )


def _unexpected_count(details: Mapping[str, Any]) -> int | None:
    """Spark's sum over no rows is null, not 0."""
    count = details.get("unexpected_count")
    return 0 if count is None and details.get("element_count") == 0 else count


def _observed(details: Mapping[str, Any], sample: Sample) -> Any:
    if sample.unexpected_values or sample.missing_values:
        values = {
            "unexpected values": list(sample.unexpected_values),
            "missing values": list(sample.missing_values),
        }
        return {name: found for name, found in values.items() if found}
    return details.get("observed_value")


def _note(evaluation: Evaluation) -> str | None:
    details = evaluation.details
    elements = details.get("element_count")
    if elements == 0:
        return "there are no rows to check"
    if elements and details.get("missing_count") == elements:
        return "every value is missing: nothing was checked"
    if "observed_value" in details and details["observed_value"] is None and not evaluation.passed:
        return None if "unexpected_count" in details else "there is no value to judge"
    return None


def _shown_rows(
    spec: ExpectationSpec, sample: Sample, pii: Collection[str]
) -> tuple[dict[str, Any], ...]:
    """Unexpected rows: first the columns that the expectation reads, at most twenty in all."""
    read = spec.columns
    rows = sample.rows or [
        {spec.arguments.get("column", "value"): v} for v in sample.unexpected_values
    ]
    shown = []
    for row in rows:
        names = [
            *(name for name in row if name in read),
            *(name for name in row if name not in read),
        ]
        visible = hide_row({name: row[name] for name in names}, read, pii)
        kept = list(visible.items())[:MAX_SAMPLE_COLUMNS]
        shown.append({name: value if value == MASK else to_plain(value) for name, value in kept})
    return tuple(shown)
