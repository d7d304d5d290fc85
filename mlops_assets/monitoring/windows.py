"""Windows of event time, aligned to 1970-01-01 UTC, and which of them are closed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
MAX_EMPTY = 100
"""Longest silence, in windows, of which every window gets a report; a longer one gets none."""


@dataclass(frozen=True, order=True)
class Window:
    """The half-open span ``[start, end)`` in UTC."""

    start: datetime
    end: datetime

    @classmethod
    def at(cls, moment: datetime, every: timedelta) -> Window:
        """The window that holds a moment."""
        start = EPOCH + (moment.astimezone(UTC) - EPOCH) // every * every
        return cls(start, start + every)

    def __str__(self) -> str:
        length = self.end - self.start
        form = "%Y-%m-%d" if length % timedelta(days=1) == timedelta(0) else "%Y-%m-%d %H:%M"
        return self.start.strftime(form)


def watermark(newest: datetime, lateness: timedelta, now: datetime) -> datetime:
    """Until when the log is taken for complete.

    A request from the future does not close the windows before it.

    Args:
        newest: Time of the newest request in the log.
        lateness: How much later than newer ones a request may still arrive.
        now: The time.
    """
    return min(newest, now) - lateness


def closed_windows(
    spans: list[tuple[datetime, datetime]],
    until: datetime,
    every: timedelta,
    after: datetime | None,
) -> list[Window]:
    """Windows that ended by ``until`` and have no report yet, oldest first.

    Args:
        spans: First and last time of each part of the log.
        until: The watermark.
        every: Length of a window.
        after: Start of the newest window that has a report.
    """
    first = min((start for start, _ in spans), default=None)
    if first is None:
        return []
    window = Window.at(first, every)
    if after is not None:
        window = Window(after + every, after + 2 * every)
    found: list[Window] = []
    silence = 0
    while window.end <= until:
        if not any(start < window.end and end >= window.start for start, end in spans):
            silence += 1
            if silence > MAX_EMPTY:
                window = _next_with_data(spans, window, every)
                silence = 0
                continue
        else:
            silence = 0
        found.append(window)
        window = Window(window.end, window.end + every)
    return found


def _next_with_data(
    spans: list[tuple[datetime, datetime]], window: Window, every: timedelta
) -> Window:
    following = min((start for start, _ in spans if start >= window.end), default=None)
    return Window.at(following, every) if following else Window(_NEVER, _NEVER)
