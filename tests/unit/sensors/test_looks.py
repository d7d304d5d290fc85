"""What the landing sensor remembers of a source."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
)

from sensors.looks import Look, looks_of, read_looks, write_looks

TEN = timedelta(minutes=10)


def test_a_cursor_holds_looks_and_one_of_another_version_is_begun_anew() -> None:
    looks = {"a/b/c": Look(at=7.0, asked={"x": (2, 5.0)}, waiting=3)}
    read = read_looks(write_looks(looks))
    assert read["a/b/c"].waiting == 3
    assert not read["a/b/c"].may_ask(["x"], 6.0)
    assert read_looks('{"a/b/c": 1700000000.5}') == {}
    assert read_looks('{"a/b/c": {"at": 1.5, "later": 2}}') == {"a/b/c": Look(at=1.5)}
    assert read_looks(None) == {}


def test_a_wait_begins_when_something_is_seen_and_again_when_something_was_taken() -> None:
    look = Look()
    waits = []
    for at, waiting, last in ((100, 0, 50), (130, 4, 50), (190, 9, 50), (220, 2, 210), (250, 0, 0)):
        look.at = float(at)
        look.saw(waiting, float(last))
        waits.append(look.oldest_wait)
    assert waits == [0.0, 0.0, 60.0, 10.0, 0.0]


@pytest.mark.parametrize(
    ("shown", "waiting", "age", "is_told"),
    [
        (100, 199, 601, False),
        (100, 200, 601, True),
        (100, 50, 601, True),
        (100, 51, 601, False),
        (0, 1, 601, True),
        (1, 0, 601, True),
        (0, 0, 601, False),
        (0, 9, 599, False),
        (0, None, 601, False),
    ],
)
def test_a_lag_is_shown_when_it_is_another(
    shown: int, waiting: int | None, age: float, is_told: bool
) -> None:
    look = Look(at=1000.0 + age, shown=shown, shown_at=1000.0, waiting=waiting)
    assert look.is_to_show(TEN) is is_told


def keep(instance: dg.DagsterInstance, name: str, cursor: str | None) -> None:
    """What the daemon keeps of a sensor."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("shop"), "repo")
    data = SensorInstigatorData(cursor=cursor)
    origin = RemoteInstigatorOrigin(repository, name)
    instance.add_instigator_state(
        InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data)
    )


def test_the_newest_look_of_any_team_is_found() -> None:
    with dg.DagsterInstance.local_temp() as instance:
        keep(instance, "shop__landing", write_looks({"shop/a/x": Look(at=5.0, waiting=1)}))
        old = {"shop/a/x": Look(at=4.0, waiting=9), "toys/b/y": Look(at=2.0)}
        keep(instance, "toys__landing", write_looks(old))
        keep(instance, "shop__new_data", '{"shop/a/z": "sha256:1"}')
        keep(instance, "late__landing", None)
        found = looks_of(instance)
    assert {name: (look.at, look.waiting) for name, look in found.items()} == {
        "shop/a/x": (5.0, 1),
        "toys/b/y": (2.0, None),
    }
