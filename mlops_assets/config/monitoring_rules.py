"""Rules between ``monitoring:``, ``automation:`` and the rest of a spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mlops_assets.config.metrics import METRICS
from mlops_assets.config.problems import FieldProblem, FieldProblems, nearest, one_of
from mlops_assets.config.streams import STREAMS, stream_source

if TYPE_CHECKING:
    from mlops_assets.config.project import ProjectSpec

DRIFT_TESTS: dict[str, frozenset[str]] = {
    "chi_square": frozenset({"categorical"}),
    "jensen_shannon": frozenset({"numeric", "categorical"}),
    "kolmogorov_smirnov": frozenset({"numeric"}),
    "psi": frozenset({"numeric", "categorical"}),
    "wasserstein": frozenset({"numeric"}),
}
"""Univariate drift tests by the kinds of columns that they fit."""
MULTIVARIATE_TEST = "domain_classifier"
MIN_WINDOW = timedelta(minutes=1)
WEEK = timedelta(days=7)
DAY = timedelta(days=1)


def find_monitoring_problems(spec: ProjectSpec) -> Iterator[FieldProblem]:
    """Everything under ``monitoring:`` and ``automation:`` that does not fit the rest."""
    yield from _log(spec)
    yield from _streams(spec)
    yield from _windows(spec)
    yield from _tests(spec)
    yield from _performance(spec)
    yield from _automation(spec)


def _log(spec: ProjectSpec) -> Iterator[FieldProblem]:
    log = spec.monitoring.inference_log
    if log is None:
        if spec.monitoring.labels is not None:
            yield FieldProblem(
                ("monitoring", "labels"),
                "labels without an inference log",
                "inference_log: beside them, as labels are joined to its requests",
            )
        return
    inputs = {name.lower() for name in spec.features.inputs.names}
    seen: dict[str, str] = {}
    for field, column in log.own_columns.items():
        location = ("monitoring", "inference_log", field)
        if column.lower() in inputs:
            yield FieldProblem(location, f"{column}, which is an input", "a column of its own")
        first = seen.setdefault(column.lower(), field)
        if first != field:
            yield FieldProblem(location, f"{column}, which is {first} too", "a column of its own")


def _streams(spec: ProjectSpec) -> Iterator[FieldProblem]:
    """A topic must fit the columns that follow from the project, and its slices need a name."""
    for name in STREAMS:
        location = ("monitoring", name, "source")
        try:
            source = stream_source(spec, name)
        except ValidationError as error:
            causes = [details.get("ctx", {}).get("error") for details in error.errors()]
            for problem in (p for c in causes if isinstance(c, FieldProblems) for p in c.problems):
                yield replace(problem, location=(*location, *problem.location))
            continue
        if source is not None and name in spec.sources:
            found = f"a source named {name}"
            yield FieldProblem(("sources", name), found, f"another name, as {name} has a source")


def _windows(spec: ProjectSpec) -> Iterator[FieldProblem]:
    every, reference = spec.monitoring.window.every, spec.monitoring.reference
    location = ("monitoring", "window", "every")
    if every < MIN_WINDOW:
        yield FieldProblem(location, f"{every.total_seconds():.0f} seconds", "one minute or more")
        return
    longest = {"same_weekday": DAY, "same_hour": timedelta(hours=1)}.get(reference)
    if longest is None:
        return
    if every > longest or longest % every:
        unit = "a day" if longest == DAY else "an hour"
        yield FieldProblem(
            location, f"windows that do not divide {unit}", f"a part of {unit} for {reference}"
        )


def _tests(spec: ProjectSpec) -> Iterator[FieldProblem]:
    drift = spec.monitoring.drift
    inputs = spec.features.inputs
    names = ["auto", *DRIFT_TESTS]
    chosen = {"": drift.tests} if isinstance(drift.tests, str) else drift.tests
    for column, test in chosen.items():
        location = ("monitoring", "drift", "tests", *([column] if column else []))
        if column and column not in inputs.names:
            near = nearest(column, inputs.names)
            yield FieldProblem(location, f"{column}, which is no input", "an input", near)
        if test not in names:
            yield FieldProblem(location, test, one_of(names), nearest(test, names))
        elif column and test != "auto":
            kind = "numeric" if column in inputs.numeric else "categorical"
            if kind not in DRIFT_TESTS[test]:
                fitting = [name for name, kinds in DRIFT_TESTS.items() if kind in kinds]
                yield FieldProblem(location, f"{test} for a {kind} column", one_of(fitting))
    if drift.multivariate and spec.monitoring.reference != "training":
        yield FieldProblem(
            ("monitoring", "drift", "multivariate"),
            f"a classifier with reference {spec.monitoring.reference}",
            "reference: training, as earlier windows keep no rows",
        )
    for test, threshold in drift.thresholds.items():
        location = ("monitoring", "drift", "thresholds", test)
        known = [*DRIFT_TESTS, MULTIVARIATE_TEST]
        if test not in known:
            yield FieldProblem(location, test, one_of(known), nearest(test, known))
        elif threshold <= 0:
            yield FieldProblem(location, f"{threshold:g}", "an effect size above 0")


def _performance(spec: ProjectSpec) -> Iterator[FieldProblem]:
    metric = spec.monitoring.performance.metric
    if metric is not None and spec.task not in METRICS[metric].tasks:
        fitting = sorted(name for name, info in METRICS.items() if spec.task in info.tasks)
        yield FieldProblem(
            ("monitoring", "performance", "metric"),
            f"{metric}, a metric for {' and '.join(sorted(METRICS[metric].tasks))}",
            f"a metric for {spec.task}: {', '.join(fitting)}",
            nearest(metric, fitting),
        )
    drop, watched = spec.monitoring.performance.max_drop, spec.watched_metric
    if drop >= 1 and METRICS[watched].is_share:
        yield FieldProblem(
            ("monitoring", "performance", "max_drop"),
            f"{drop:g}, a loss that {watched} cannot have",
            f"less than 1, as {watched} lies between 0 and 1, such as 0.03",
        )


def _automation(spec: ProjectSpec) -> Iterator[FieldProblem]:
    if spec.automation.retrain_on == "decision" and spec.monitoring.inference_log is None:
        yield FieldProblem(
            ("automation", "retrain_on"),
            "decision, without anything to decide by",
            "monitoring.inference_log, or new_data",
        )
