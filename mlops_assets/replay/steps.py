"""How a replay goes through time: window by window, each in two parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlops_assets.monitoring.windows import Window


@dataclass(frozen=True)
class Step:
    """A window, or the part of it that is replayed.

    Attributes:
        start: Its first moment.
        early: After the first requests, which close the window before.
        end: The first moment of the next one.
    """

    start: datetime
    early: datetime
    end: datetime


def steps(start: datetime, end: datetime, every: timedelta) -> Iterator[Step]:
    """All steps between two moments; the first and the last may be shorter than a window."""
    window = Window.at(start, every)
    while start < end:
        until = min(window.end, end)
        yield Step(start, start + (until - start) / 4, until)
        start, window = until, Window(window.end, window.end + every)
