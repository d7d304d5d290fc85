"""Words of positions sort as the positions do, and read back to what they were made of."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.errors import SourceError
from mlops_assets.sources.incremental import Slice
from mlops_assets.sources.sql_positions import Positions

INTEGERS = Positions("integer")
MOMENTS = Positions("timestamptz")
bigints = st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))


def text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


@given(bigints, bigints)
def test_words_of_integers(one: int, other: int) -> None:
    words = [INTEGERS.word(str(value)) for value in (one, other)]
    assert (words[0] < words[1]) == (one < other)
    assert [INTEGERS.position(word, "here") for word in words] == [str(one), str(other)]


@given(moments, moments)
def test_words_of_moments(one: datetime, other: datetime) -> None:
    words = [MOMENTS.word(text(value)) for value in (one, other)]
    assert (words[0] < words[1]) == (one < other)
    assert [MOMENTS.position(word, "here") for word in words] == [text(one), text(other)]


@pytest.mark.parametrize(
    ("positions", "example"), [(INTEGERS, "-42"), (MOMENTS, "2024-02-29T01:02:03.000004")]
)
def test_words_are_names(positions: Positions, example: str) -> None:
    for position in (example, positions.floor, positions.ceiling):
        name = Slice("rows", positions.word(position), "x").name
        assert name.replace("-", "").replace(".", "").isalnum()
        assert positions.position(positions.word(position), "here") == position


def test_a_word_of_another_kind_is_refused() -> None:
    with pytest.raises(SourceError, match="another type"):
        INTEGERS.position(MOMENTS.word(MOMENTS.floor), "here")
    with pytest.raises(SourceError, match="another type"):
        MOMENTS.position(INTEGERS.word("3"), "here")


@pytest.mark.parametrize(
    ("written", "position"),
    [
        (None, "0001-01-01T00:00:00.000000"),
        ("2024-01-01", "2024-01-01T00:00:00.000000"),
        ("2024-01-01T01:00:00+02:00", "2023-12-31T23:00:00.000000"),
        (datetime(333, 1, 1, tzinfo=UTC).isoformat(), "0333-01-01T00:00:00.000000"),
    ],
)
def test_start_is_read_as_utc(written: str | None, position: str) -> None:
    assert MOMENTS.start(written, "here") == position
