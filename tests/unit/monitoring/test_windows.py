"""Windows: alignment, the watermark, and which windows are closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.monitoring.windows import MAX_EMPTY, Window, closed_windows, watermark

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def at(days: float) -> datetime:
    return START + days * DAY


def starts(windows: list[Window]) -> list[float]:
    return [(window.start - START) / DAY for window in windows]


def test_windows_are_aligned_to_utc_whatever_the_zone() -> None:
    moment = datetime.fromisoformat("2024-01-01T23:30:00-02:00")
    assert Window.at(moment, DAY) == Window(at(1), at(2))


def test_only_windows_that_ended_by_the_watermark_are_closed() -> None:
    spans = [(at(0.5), at(3.2))]
    assert starts(closed_windows(spans, at(3.2), DAY, None)) == [0, 1, 2]
    assert starts(closed_windows(spans, at(2.9), DAY, None)) == [0, 1]


def test_reported_windows_are_not_closed_again() -> None:
    spans = [(at(0.5), at(3.2))]
    assert starts(closed_windows(spans, at(3.2), DAY, at(1))) == [2]


def test_silence_is_reported_window_by_window() -> None:
    spans = [(at(0.1), at(0.2)), (at(3.1), at(4.2))]
    assert starts(closed_windows(spans, at(4.2), DAY, None)) == [0, 1, 2, 3]


def test_a_very_long_silence_is_not() -> None:
    far = 10_000
    spans = [(at(0.1), at(0.2)), (at(far + 0.1), at(far + 1.2))]
    found = starts(closed_windows(spans, at(far + 1.2), DAY, None))
    assert len(found) == 1 + MAX_EMPTY + 1
    assert found[-1] == far


def test_a_request_from_the_future_closes_nothing() -> None:
    assert watermark(at(9000), timedelta(0), now=at(3)) == at(3)


def test_late_requests_are_waited_for() -> None:
    assert watermark(at(3), timedelta(hours=6), now=at(9)) == at(2.75)


@given(
    st.lists(st.floats(0, 50), min_size=1, max_size=20),
    st.lists(st.floats(0, 60), min_size=1, max_size=6),
)
def test_every_window_is_closed_exactly_once_however_the_watermark_moves(
    times: list[float], marks: list[float]
) -> None:
    spans = [(at(t), at(t)) for t in sorted(times)]
    closed: list[Window] = []
    for mark in sorted(marks):
        after = closed[-1].start if closed else None
        closed += closed_windows(spans, at(mark), DAY, after)
    assert starts(closed) == sorted(set(starts(closed)))
    expected = closed_windows(spans, at(max(marks)), DAY, None)
    assert closed == expected
