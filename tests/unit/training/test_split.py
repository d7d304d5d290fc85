"""Rows are divided honestly, deterministically, and never into nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.errors import EmptyDataError, SchemaError
from mlops_assets.training.split import split_rows


def _days(days: list[int | None], labels: list[int | None] | None = None) -> pa.Table:
    times = [None if d is None else datetime(2024, 1, 1 + d, tzinfo=UTC) for d in days]
    return pa.table(
        {
            "trip": [str(place) for place in range(len(days))],
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "label": pa.array(labels or [place % 2 for place in range(len(days))], pa.int32()),
        }
    )


def test_the_newest_rows_are_the_test_rows(make_project):
    split = split_rows(
        _days(list(range(20))),
        make_project(evaluation={"split": {"test": "5d", "validation": 0.2}}).spec,
    )

    assert split.test.tolist() == [15, 16, 17, 18, 19]
    assert split.validation.tolist() == [12, 13, 14]
    assert split.train.tolist() == list(range(12))
    assert split.train_until == datetime(2024, 1, 15, tzinfo=UTC)
    assert split.test_from == datetime(2024, 1, 16, tzinfo=UTC)


@pytest.mark.parametrize("test", [0.2, "3d"])
def test_rows_of_equal_time_stay_on_one_side(make_project, test):
    days = [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5
    split = split_rows(_days(days), make_project(evaluation={"split": {"test": test}}).spec)

    sides = [{days[row] for row in part} for part in (split.train, split.validation, split.test)]
    assert all(sides)
    assert not sides[0] & sides[1] and not sides[1] & sides[2] and not sides[0] & sides[2]
    assert split.train_until < split.test_from


def test_unlabelled_and_untimed_rows_are_left_out_and_counted(make_project):
    days: list[int | None] = [*range(20), None]
    labels = [None if place in (2, 3) else place % 2 for place in range(21)]
    split = split_rows(_days(days, labels), make_project().spec)

    used = np.concatenate([split.train, split.validation, split.test])
    assert not {2, 3, 20} & set(used.tolist())
    assert (split.unlabelled, split.untimed) == (2, 1)


def test_immature_labels_are_left_out_by_the_clock_of_the_data(make_project):
    labels = [place % 2 for place in range(20)]
    table = _days([*range(20), 28], [*labels, None])  # a future row without a label is no clock
    spec = make_project(features={"label": {"column": "label", "matures_after": "4d"}}).spec

    split = split_rows(table, spec)

    assert split.immature == 4
    assert split.test.max() == 15


def test_training_labels_were_final_before_the_first_test_row(make_project):
    spec = make_project(
        features={"label": {"column": "label", "matures_after": "4d"}},
        evaluation={"split": {"test": "3d"}},
    ).spec
    split = split_rows(_days(list(range(28))), spec)

    assert (split.test_from - split.train_until).days == 4
    assert split.embargoed == 3
    counted = sum(len(p) for p in (split.train, split.validation, split.test))
    assert counted + split.embargoed + split.immature == 28


def test_an_entity_is_on_one_side_only(make_project):
    entities = [f"e{place % 200}" for place in range(2000)]
    table = _days([place % 28 for place in range(2000)])
    table = table.set_column(0, "trip", pa.array(entities))
    spec = make_project(evaluation={"split": {"by": "entity", "test": 0.25}}).spec

    split = split_rows(table, spec)
    again = split_rows(table.take(pa.array(np.arange(2000)[::-1].copy())), spec)

    sides = [
        {entities[row] for row in part} for part in (split.train, split.validation, split.test)
    ]
    assert sum(len(side) for side in sides) == 200
    assert 30 <= len(sides[2]) <= 70
    assert {entities[1999 - row] for row in again.test} == sides[2], "order must not matter"
    other = split_rows(
        table,
        make_project(
            training={"seed": 8}, evaluation={"split": {"by": "entity", "test": 0.25}}
        ).spec,
    )
    assert {entities[row] for row in other.test} != sides[2], "the seed must matter"


def test_known_entities_keep_their_side_for_ever(make_project):
    """A change of the hash would put training rows of a live model among the test rows."""
    table = _days([0] * 10).set_column(0, "trip", pa.array([f"h{place}" for place in range(10)]))
    table = pa.concat_tables([table, _days(list(range(28)))])
    split = split_rows(table, make_project(evaluation={"split": {"by": "entity"}}).spec)

    assert set(split.test[split.test < 10].tolist()) == {0, 6, 8}


@pytest.mark.parametrize(
    ("days", "labels", "what"),
    [
        ([], [], "labelled"),
        ([1, 2, 3], [None, None, None], "labelled"),
        ([1], [1], "training"),
        ([5, 5, 5, 5], [0, 1, 0, 1], "training"),
    ],
)
def test_an_empty_part_is_an_error_by_its_name(make_project, days, labels, what):
    with pytest.raises(EmptyDataError, match=f"no {what} rows"):
        split_rows(_days(days, labels), make_project().spec)


def test_a_missing_column_is_named(make_project):
    with pytest.raises(SchemaError, match="features column time"):
        split_rows(_days([1, 2]).drop_columns("time"), make_project().spec)


def test_the_description_is_json(make_project, table):
    described = split_rows(table, make_project().spec).describe()

    assert described["train"] + described["validation"] + described["test"] == 600
    assert datetime.fromisoformat(described["train_until"]).tzinfo is not None
