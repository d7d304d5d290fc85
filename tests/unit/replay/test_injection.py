"""Injections: how they are written, and what they do to requests and to features."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import ConfigError
from mlops_assets.keys import ProjectId
from mlops_assets.replay.injection import Injection, parse_span, shifted_query

WRITTEN = {
    "description": "x",
    "task": "binary",
    "sources": {"a": {"type": "files", "uri": "a"}},
    "features": {
        "query": "q.sql",
        "entity": "id",
        "time": "at",
        "label": {"column": "y"},
        "inputs": {"numeric": ["temp"], "categorical": ["carrier"]},
    },
}
PROJECT = Project(
    ProjectId("team", "name"), ProjectSpec.model_validate(WRITTEN), Path(), dict(WRITTEN)
)


def moments(*days: int) -> pa.Array:
    return pa.array([datetime(2013, 7, day, tzinfo=UTC) for day in days])


def table() -> pa.Table:
    return pa.table(
        {"at": moments(1, 2, 3), "temp": [1.0, 2.0, None], "carrier": ["AA", "BB", "CC"]}
    )


def test_a_shift_moves_values_from_its_start_on() -> None:
    shift = Injection.parse("shift:temp+15@2013-07-02", PROJECT)
    assert shift.apply(table(), "at")["temp"].to_pylist() == [1.0, 17.0, None]


@pytest.mark.parametrize(("text", "expected"), [("temp-0.5", 1.5), ("temp*3", 6.0)])
def test_operators(text: str, expected: float) -> None:
    shift = Injection.parse(f"shift:{text}@2013-07-02", PROJECT)
    assert shift.apply(table(), "at")["temp"][1].as_py() == expected


def test_nulls_end_when_they_are_said_to() -> None:
    nulls = Injection.parse("nulls:carrier@2013-07-02..2013-07-03", PROJECT)
    assert nulls.apply(table(), "at")["carrier"].to_pylist() == ["AA", None, "CC"]


def test_later_features_have_the_shift_and_not_the_nulls() -> None:
    both = [
        Injection.parse("shift:temp+15@2013-07-02", PROJECT),
        Injection.parse("nulls:carrier@2013-07-02", PROJECT),
    ]
    query = shifted_query("SELECT * FROM a;", ["at", "temp", "carrier"], both, "at")
    assert "CASE WHEN `at` >= TIMESTAMP '2013-07-02 00:00:00+00:00' THEN `temp` + 15.0" in query
    assert query.count("CASE") == 1
    assert ";" not in query


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shift:temp@2013-07-01", "not an injection"),
        ("nulls:carrier+1@2013-07-01", "not an injection"),
        ("shift:carrier+1@2013-07-01", "numeric input"),
        ("shift:tmp+1@2013-07-01", "did you mean temp"),
        ("shift:temp+1@2013-13-01", "not a date"),
        ("drop table", "shift:temp"),
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Injection.parse(text, PROJECT)
    assert said in str(caught.value)


@pytest.mark.parametrize("end", ["2013-04-01", "2013-03-31", "2013-04-01T00:00:00+02:00"])
def test_a_span_ends_after_it_begins(end: str) -> None:
    with pytest.raises(ConfigError, match="no time between --from and --to"):
        parse_span("2013-04-01", end)
    assert parse_span("2013-04-01", "2013-04-02")[1] == datetime(2013, 4, 2, tzinfo=UTC)
