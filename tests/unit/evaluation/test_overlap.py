"""Case 24: no model is judged on rows that it has learned from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlops_assets.config.project import Project
from mlops_assets.errors import EvaluationError
from mlops_assets.evaluation.evidence import champion_problem_of
from mlops_assets.evaluation.overlap import entity_split_problem, refuse_overlap
from mlops_assets.training.split import Split, split_rows


@dataclass(frozen=True)
class Trained:
    """The parts of a bundle that say what it was trained on."""

    id: str
    split: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    schema: Any = None


@dataclass(frozen=True)
class Schema:
    task: str = "binary"
    inputs: tuple[Any, ...] = ()


def _trained(split: Split, project: Project, name: str = "sha256:a", **shift: Any) -> Trained:
    until = split.train_until + timedelta(**shift) if split.train_until else None
    described = {**split.describe(), "train_until": until.isoformat() if until else None}
    return Trained(name, described, project.written, Schema())


@pytest.fixture
def by_time(
    make_project: Callable[..., Project], make_table: Callable[..., pa.Table]
) -> tuple[Project, pa.Table, Split]:
    project, table = make_project(), make_table()
    return project, table, split_rows(table, project.spec)


def test_an_honest_split_passes(by_time: tuple[Project, pa.Table, Split]) -> None:
    project, table, split = by_time
    bundle = _trained(split, project)
    refuse_overlap(project, bundle, table, split, None)
    refuse_overlap(project, bundle, table, split, bundle)
    older = _trained(split, project, "sha256:b", hours=-50)
    refuse_overlap(project, bundle, table, split, older)


def test_a_row_on_both_sides_is_refused(by_time: tuple[Project, pa.Table, Split]) -> None:
    project, table, split = by_time
    for side in ("train", "validation"):
        leaking = replace(split, **{side: np.append(getattr(split, side), split.test[:3])})
        with pytest.raises(EvaluationError, match="3 rows are both training and test rows"):
            refuse_overlap(project, _trained(split, project), table, leaking, None)


def test_a_model_trained_on_newer_rows_is_refused(
    by_time: tuple[Project, pa.Table, Split],
) -> None:
    project, table, split = by_time
    # The first test row is one hour after the last training row.
    for hours in (1, 200):
        with pytest.raises(EvaluationError, match="the model was trained on rows as new") as caught:
            refuse_overlap(project, _trained(split, project, hours=hours), table, split, None)
        assert split.test_from is not None
        assert split.test_from.isoformat() in str(caught.value)


def test_a_champion_trained_on_newer_rows_is_refused(
    by_time: tuple[Project, pa.Table, Split],
) -> None:
    project, table, split = by_time
    champion = _trained(split, project, "sha256:b", hours=1)
    with pytest.raises(EvaluationError, match="the live model was trained on rows as new"):
        refuse_overlap(project, _trained(split, project), table, split, champion)


def test_what_is_not_known_is_refused(by_time: tuple[Project, pa.Table, Split]) -> None:
    project, table, split = by_time
    silent = Trained("sha256:b", {}, {}, Schema())
    with pytest.raises(EvaluationError, match="until when"):
        refuse_overlap(project, silent, table, split, None)
    refuse_overlap(project, _trained(split, project), table, split, silent)
    assert "until when" in (champion_problem_of(project, table, silent) or "")


def test_the_rows_own_times_count_and_not_what_the_split_says(
    by_time: tuple[Project, pa.Table, Split],
) -> None:
    project, table, split = by_time
    wrong = replace(split, test=split.train[:50], train=split.train[50:])
    with pytest.raises(EvaluationError, match="as new as"):
        refuse_overlap(project, _trained(split, project), table, wrong, None)


def test_a_test_row_without_a_time_is_refused(by_time: tuple[Project, pa.Table, Split]) -> None:
    project, table, split = by_time
    is_first = np.arange(table.num_rows) == split.test[0]
    times = pc.if_else(pa.array(is_first), pa.scalar(None, table["at"].type), table["at"])
    untimed = table.set_column(table.column_names.index("at"), "at", times)
    with pytest.raises(EvaluationError, match="1 test rows have no time"):
        refuse_overlap(project, _trained(split, project), untimed, split, None)


def test_times_without_a_zone_and_dates_are_compared_as_utc(
    by_time: tuple[Project, pa.Table, Split],
) -> None:
    project, table, split = by_time
    for kind in (pa.timestamp("us"), pa.timestamp("ns"), pa.date32()):
        column = pc.cast(table["at"], kind, safe=False)
        same = table.set_column(table.column_names.index("at"), "at", column)
        refuse_overlap(project, _trained(split, project, days=-1), same, split, None)
        with pytest.raises(EvaluationError, match="as new as"):
            refuse_overlap(project, _trained(split, project, hours=30), same, split, None)


def test_the_same_entity_and_time_on_both_sides_is_refused(
    by_time: tuple[Project, pa.Table, Split],
) -> None:
    project, table, split = by_time
    copies = pa.concat_tables([table, table.take(pa.array(split.test[:2]))])
    leaking = replace(split, train=np.append(split.train, [table.num_rows, table.num_rows + 1]))
    with pytest.raises(EvaluationError, match="2 trip and at values have rows among"):
        refuse_overlap(project, _trained(split, project), copies, leaking, None)


def test_an_entity_that_comes_back_later_is_no_overlap(
    make_project: Callable[..., Project], make_table: Callable[..., pa.Table]
) -> None:
    project, table = make_project(), make_table(entities=20)
    split = split_rows(table, project.spec)
    refuse_overlap(project, _trained(split, project), table, split, None)


@pytest.fixture
def by_entity(
    make_project: Callable[..., Project], make_table: Callable[..., pa.Table]
) -> tuple[Project, pa.Table, Split]:
    project = make_project(evaluation={"split": {"by": "entity", "test": 0.3}})
    table = make_table(entities=100)
    return project, table, split_rows(table, project.spec)


def test_an_honest_entity_split_passes(by_entity: tuple[Project, pa.Table, Split]) -> None:
    project, table, split = by_entity
    bundle = _trained(split, project)
    refuse_overlap(project, bundle, table, split, replace(bundle, id="sha256:b"))
    assert entity_split_problem(project, bundle) is None


def test_an_entity_on_both_sides_is_refused(by_entity: tuple[Project, pa.Table, Split]) -> None:
    project, table, split = by_entity
    leaking = replace(split, train=np.append(split.train, split.test[:1]), test=split.test[1:])
    with pytest.raises(EvaluationError, match="1 trip values have rows among"):
        refuse_overlap(project, _trained(split, project), table, leaking, None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"evaluation": {"split": {"by": "entity", "test": 0.2}}}, "test 0.2"),
        ({"evaluation": {"split": {"by": "time"}}}, "by time"),
        ({"training": {"seed": 99}}, "seed 99"),
        ({"features": {"entity": "carrier"}}, "entity carrier"),
    ],
)
def test_a_model_of_another_entity_split_is_refused_and_a_champion_said_so(
    by_entity: tuple[Project, pa.Table, Split],
    make_project: Callable[..., Project],
    changes: dict[str, Any],
    told: str,
) -> None:
    project, table, split = by_entity
    base = {"evaluation": {"split": {"by": "entity", "test": 0.3}}}
    other = _trained(split, make_project(**{**base, **changes}), "sha256:b")
    with pytest.raises(EvaluationError, match="another split"):
        refuse_overlap(project, other, table, split, None)
    problem = champion_problem_of(project, table, other)
    assert problem is not None
    assert "trained with another split" in problem
    assert told in problem


def test_an_unreadable_split_rule_is_not_taken_for_the_same(
    by_entity: tuple[Project, pa.Table, Split],
) -> None:
    project, table, split = by_entity
    strange = Trained("sha256:b", {}, {"evaluation": {"split": {"by": "moon"}}}, Schema())
    with pytest.raises(EvaluationError, match="does not say by which split"):
        refuse_overlap(project, strange, table, split, None)


def test_a_million_rows_are_checked_quickly(make_project: Callable[..., Project]) -> None:
    project, rows = make_project(), 1_000_000
    moments = np.datetime64(datetime(2024, 1, 1), "us") + np.arange(rows)
    table = pa.table({"trip": pa.array(np.arange(rows)), "at": pa.array(moments)})
    split = Split(
        np.arange(800_000), np.arange(800_000, 900_000), np.arange(900_000, rows),
        datetime(2024, 1, 1, 0, 0, 0, 899_999), None, 0, 0,
    )  # fmt: skip
    start = time.perf_counter()
    refuse_overlap(project, _trained(split, project), table, split, None)
    assert time.perf_counter() - start < 15
