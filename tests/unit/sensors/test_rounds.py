"""Every project has its turn, however short the time is."""

from __future__ import annotations

from sensors.rounds import Round

NAMES = ["a", "b", "c"]


def turn(names: list[str], resume: str | None, seconds: float) -> tuple[list[str], str]:
    taken = Round(names, str, resume, seconds)
    return list(taken), taken.resume


def test_all_are_reached_when_there_is_time() -> None:
    assert turn(NAMES, None, 60.0) == (NAMES, "")
    assert turn(NAMES, "", 60.0) == (NAMES, "")
    assert turn(NAMES, "b", 60.0) == (["b", "c", "a"], "")
    assert turn([], None, 60.0) == ([], "")


def test_without_time_each_tick_reaches_the_next_one() -> None:
    reached: list[str] = []
    resume: str | None = None
    for _ in range(4):
        names, resume = turn(NAMES, resume, -1.0)
        reached += names
    assert reached == ["a", "b", "c", "a"]


def test_a_project_that_is_gone_begins_a_new_round() -> None:
    assert turn(NAMES, "gone", 60.0) == (NAMES, "")


def test_what_is_left_is_said() -> None:
    taken = Round(NAMES, str, None, -1.0)
    assert taken.notes == []
    list(taken)
    assert taken.resume == "b"
    assert len(taken.notes) == 1
