"""The projects of one tick: as many as the time allows, and in the next tick the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

BUDGET_SECONDS = 40.0
"""Time for one tick: Dagster ends it after 60 s, and what it has found by then is lost."""
RESUME = "resume"
"""Where cursors that hold more keep the place; no project is called so."""


class Round(Generic[T]):
    """Items in turn, begun where the tick before stopped, ended when the time is over.

    Args:
        items: All of them, always in the same order.
        name: An item's name in the cursor.
        resume: Name of the item at which the tick before stopped; empty when it reached all.
        seconds: The time.
    """

    def __init__(
        self,
        items: Sequence[T],
        name: Callable[[T], str],
        resume: str | None,
        seconds: float = BUDGET_SECONDS,
    ) -> None:
        names = [name(item) for item in items]
        start = names.index(resume) if resume in names else 0
        self._items = [*items[start:], *items[:start]]
        self._name = name
        self._end = time.monotonic() + seconds
        self.resume = ""
        """Name of the item at which the next tick has to begin; empty when all were reached."""

    def __iter__(self) -> Iterator[T]:
        for place, item in enumerate(self._items):
            if place and time.monotonic() > self._end:
                self.resume = self._name(item)
                return
            yield item

    @property
    def notes(self) -> list[str]:
        """What the tick has to say about the time."""
        return ["the time budget ended; the rest follows in the next tick"] if self.resume else []
