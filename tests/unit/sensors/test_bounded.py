"""Sources that do not answer: the tick of a sensor ends in time."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar

import pytest

from mlops_assets.errors import SourceError, StoreError
from sensors.bounded import answer_within

WORD: ContextVar[str] = ContextVar("WORD", default="")


def test_an_answer_and_an_error_are_passed_on() -> None:
    def fail() -> None:
        raise StoreError("away")

    WORD.set("mine")
    assert answer_within(5, "a", WORD.get) == "mine"
    with pytest.raises(StoreError, match="away"):
        answer_within(5, "a", fail)


def test_who_does_not_answer_is_asked_once_at_a_time() -> None:
    go, asked = threading.Event(), []

    def hang() -> str:
        asked.append(1)
        assert go.wait(30)
        return "late"

    try:
        began = time.monotonic()
        with pytest.raises(SourceError, match="no answer for 0 seconds"):
            answer_within(0.1, "b", hang)
        for _ in range(3):
            with pytest.raises(SourceError, match="an earlier tick"):
                answer_within(30, "b", hang)
        assert time.monotonic() - began < 10
        assert answer_within(5, "c", lambda: "another") == "another"
    finally:
        go.set()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            assert answer_within(5, "b", lambda: "again") == "again"
            break
        except SourceError:
            time.sleep(0.05)
    assert asked == [1]
