"""Rules between fields: what each part of a spec allows, but the whole does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from mlops_assets.config.compute import find_compute_problems
from mlops_assets.config.metrics import METRICS
from mlops_assets.config.monitoring_rules import find_monitoring_problems
from mlops_assets.config.problems import FieldProblem, Location, nearest, one_of, show
from mlops_assets.config.spark import find_image_problem
from mlops_assets.config.spark_types import PLAIN, is_table_type
from mlops_assets.config.streams import STREAMS
from mlops_assets.config.training_rules import find_training_problems

if TYPE_CHECKING:
    from mlops_assets.config.evaluation import GateSpec
    from mlops_assets.config.project import ProjectSpec
    from mlops_assets.config.sources import SourceSpec

FEATURES = "features"
"""The key under ``checks:`` that means the query's output instead of a source."""
MIN_FRESHNESS = timedelta(seconds=60)
_TAG_KEY = re.compile(r"^([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}$")
_TAG_VALUE = re.compile(r"^[A-Za-z0-9_.-]{0,63}$")


def find_problems(spec: ProjectSpec) -> list[FieldProblem]:
    """Everything in a spec that is right by itself and wrong in its company."""
    rules = (
        *(_tags, _sources, _checks, _columns, _pii, _metrics, _slices, _split, _freshness),
        find_monitoring_problems,
        find_compute_problems,
        find_training_problems,
    )
    found = [problem for rule in rules for problem in rule(spec)]
    return [*found, *find_image_problem(spec.spark)]


def _tags(spec: ProjectSpec) -> Iterator[FieldProblem]:
    rule = "letters, digits, '_', '.' and '-', at most 63 (a key may have one 'prefix/')"
    for key, value in spec.tags.items():
        if not _TAG_KEY.match(key) or key.startswith("dagster/"):
            yield FieldProblem(("tags", key), f"the key {key!r}", f"{rule}, not 'dagster/'")
        elif key in {"team", "project"}:
            found = f"the key {key!r}, which every asset has already"
            yield FieldProblem(("tags", key), found, "another name, such as cost_center")
        elif not _TAG_VALUE.match(value):
            yield FieldProblem(("tags", key), repr(value), rule)


def _sources(spec: ProjectSpec) -> Iterator[FieldProblem]:
    for name in spec.sources:
        if name == FEATURES:
            yield FieldProblem(
                ("sources", name),
                f"a source named {name}",
                f"another name: under checks, {FEATURES} means the query's output",
            )
    for place, source in _written_sources(spec):
        yield from _duplicates((*place, "pii"), source.pii)
        yield from _declared_columns((*place, "columns"), source)
        if source.time_column and _has(source.pii, source.time_column):
            yield FieldProblem(
                (*place, "time_column"),
                f"{source.time_column}, which is under pii",
                "a column whose range may be shown",
            )


def _declared_columns(location: Location, source: SourceSpec) -> Iterator[FieldProblem]:
    """Columns that no table has: two of one name, or, where no message is read, of no type."""
    seen: dict[str, str] = {}
    for name, written in source.columns.items():
        first = seen.setdefault(name.lower(), name)
        if first != name:
            expected = "names that differ in more than upper and lower case"
            yield FieldProblem((*location, name), f"{name} beside {first}", expected)
        if source.type != "kafka" and not is_table_type(written):
            expected = f"one of {', '.join(PLAIN)}, decimal(p,s), array<…>, map<…,…> or struct<…:…>"
            near = nearest(written, PLAIN)
            yield FieldProblem((*location, name), show(written), expected, near)


def _written_sources(spec: ProjectSpec) -> Iterator[tuple[Location, SourceSpec]]:
    for name, source in spec.sources.items():
        yield ("sources", name), source
    for name in STREAMS:
        stream = getattr(spec.monitoring, name)
        if stream is not None and stream.source is not None:
            yield ("monitoring", name, "source"), stream.source


def _checks(spec: ProjectSpec) -> Iterator[FieldProblem]:
    known = [*spec.sources, FEATURES]
    for name, expectations in spec.checks.items():
        if name not in known:
            yield FieldProblem(
                ("checks", name),
                f"checks for {name}, which is not a source",
                one_of(known),
                nearest(name, known),
            )
        seen: dict[str, int] = {}
        for index, expectation in enumerate(expectations):
            first = seen.setdefault(expectation.check_name, index)
            if first != index:
                yield FieldProblem(
                    ("checks", name, index),
                    f"a second check named {expectation.check_name} (the first is [{first}])",
                    "each check once, or a `name:` of its own",
                )


def _columns(spec: ProjectSpec) -> Iterator[FieldProblem]:
    features = spec.features
    inputs: Location = ("features", "inputs")
    if not features.inputs.names:
        yield FieldProblem(inputs, "no columns", "at least one numeric or categorical column")
    roles = {"time": features.time, "entity": features.entity, "label": features.label.column}
    for kind, columns in (
        ("numeric", features.inputs.numeric),
        ("categorical", features.inputs.categorical),
    ):
        yield from _duplicates((*inputs, kind), columns)
        for index, column in enumerate(columns):
            for role, taken in roles.items():
                if _same(column, taken):
                    yield FieldProblem(
                        (*inputs, kind, index),
                        f"{column}, which is the {role}",
                        "an input that is known when a prediction is asked for",
                    )
    for index, column in enumerate(features.inputs.categorical):
        if _has(features.inputs.numeric, column):
            yield FieldProblem(
                (*inputs, "categorical", index),
                f"{column}, which is under numeric too",
                "each input once",
            )
    yield from _roles(roles)


def _roles(roles: dict[str, str]) -> Iterator[FieldProblem]:
    """Entity, time and label must be three columns."""
    places: dict[str, Location] = {
        "time": ("features", "time"),
        "entity": ("features", "entity"),
        "label": ("features", "label", "column"),
    }
    for role, other in (("entity", "time"), ("label", "time"), ("label", "entity")):
        if _same(roles[role], roles[other]):
            yield FieldProblem(
                places[role], f"{roles[role]}, which is the {other}", f"another column as {role}"
            )


def _pii(spec: ProjectSpec) -> Iterator[FieldProblem]:
    features = spec.features
    yield from _duplicates(("features", "pii"), features.pii)
    shown: tuple[tuple[Location, str], ...] = (
        (("features", "time"), features.time),
        (("features", "label", "column"), features.label.column),
    )
    for location, column in shown:
        if _has(features.pii, column):
            yield FieldProblem(
                location,
                f"{column}, which is under features.pii",
                "a column whose distribution may be shown",
            )


def _metrics(spec: ProjectSpec) -> Iterator[FieldProblem]:
    evaluation = spec.evaluation
    named: list[tuple[Location, str]] = []
    if evaluation.primary is not None:
        named.append((("evaluation", "primary", "metric"), evaluation.primary.metric))
    named += [
        (("evaluation", "gates", index, "metric"), gate.metric)
        for index, gate in enumerate(evaluation.gates)
    ]
    fitting = sorted(name for name, info in METRICS.items() if spec.task in info.tasks)
    for location, metric in named:
        if metric not in fitting:
            yield FieldProblem(
                location,
                f"{metric}, a metric for {' and '.join(sorted(METRICS[metric].tasks))}",
                f"a metric for {spec.task}: {', '.join(fitting)}",
                nearest(metric, fitting),
            )
    for index, gate in enumerate(evaluation.gates):
        if gate.min is not None and gate.max is not None and gate.min > gate.max:
            yield FieldProblem(
                ("evaluation", "gates", index, "min"), str(gate.min), f"at most max ({gate.max})"
            )
        if METRICS[gate.metric].is_share:
            yield from _outside(("evaluation", "gates", index), gate)
    if "decision_threshold" in evaluation.model_fields_set and spec.task != "binary":
        yield FieldProblem(
            ("evaluation", "decision_threshold"),
            f"a threshold for a {spec.task} task",
            "none: only binary predictions are decided by one",
        )
    margin = evaluation.promote_if.non_inferior_within
    if isinstance(margin, float) and margin < 0:
        yield FieldProblem(
            ("evaluation", "promote_if", "non_inferior_within"), str(margin), "0 or more"
        )
    primary = spec.primary.metric
    if isinstance(margin, float) and margin >= 0.5 and METRICS[primary].is_share:
        yield FieldProblem(
            ("evaluation", "promote_if", "non_inferior_within"),
            f"{margin:g}, which accepts nearly any {primary}",
            f'less than 0.5, as {primary} lies between 0 and 1; a percentage is written "1%"',
        )


def _outside(location: Location, gate: GateSpec) -> Iterator[FieldProblem]:
    """Bounds of a share that each model keeps, or none."""
    for name in ("min", "max"):
        bound = getattr(gate, name)
        if bound is not None and not 0 <= bound <= 1:
            expected = f"0 to 1, between which {gate.metric} lies"
            yield FieldProblem((*location, name), f"{bound:g}", expected)


def _slices(spec: ProjectSpec) -> Iterator[FieldProblem]:
    slices: Location = ("evaluation", "slices")
    features = spec.features
    yield from _duplicates(slices, spec.evaluation.slices)
    for index, column in enumerate(spec.evaluation.slices):
        location = (*slices, index)
        if _has(features.pii, column):
            yield FieldProblem(
                location,
                f"{column}, which is under features.pii",
                "a column whose values may be shown",
            )
        elif _same(column, features.label.column) or _same(column, features.time):
            role = "label" if _same(column, features.label.column) else "time"
            yield FieldProblem(
                location, f"{column}, which is the {role}", "a column with few values to compare"
            )


def _split(spec: ProjectSpec) -> Iterator[FieldProblem]:
    test = spec.evaluation.split.test
    if isinstance(test, timedelta) and test <= timedelta(0):
        yield FieldProblem(("evaluation", "split", "test"), "no time at all", "a span such as 14d")


def _freshness(spec: ProjectSpec) -> Iterator[FieldProblem]:
    freshness = spec.monitoring.freshness
    for name, age in (
        ("raw", freshness.raw),
        ("features", freshness.features),
        ("model", freshness.model),
    ):
        if age is not None and age < MIN_FRESHNESS:
            yield FieldProblem(
                ("monitoring", "freshness", name),
                f"{age.total_seconds():.0f} seconds",
                "one minute (1m) or more",
            )


def _duplicates(location: Location, columns: Sequence[str]) -> Iterator[FieldProblem]:
    seen: set[str] = set()
    for index, column in enumerate(columns):
        if column.lower() in seen:
            yield FieldProblem((*location, index), f"{column} a second time", "each column once")
        seen.add(column.lower())


def _same(one: str, other: str) -> bool:
    """Spark SQL does not tell ``Carrier`` from ``carrier``."""
    return one.lower() == other.lower()


def _has(columns: Iterable[str], column: str) -> bool:
    return any(_same(column, other) for other in columns)
