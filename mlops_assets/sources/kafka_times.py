"""Times of messages as microseconds since 1970, and which of them a table can hold.

Producers choose times, and some of them choose badly: microseconds for milliseconds give the year
57000. Parquet keeps such a time, and Python and Spark, which know the years 1 to 9999, fail on it
later. So it is told apart by arithmetic.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

OUT_OF_RANGE = "time is out of range"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1) // _MICROSECOND
CLOCK_SLACK = timedelta(minutes=5) // _MICROSECOND
"""How far an event's clock may be ahead of the broker's."""


def microseconds(moment: datetime) -> int:
    """A moment as a number."""
    return (moment - _EPOCH) // _MICROSECOND


FIRST = microseconds(datetime.min.replace(tzinfo=UTC))
"""The first moment of the year 1."""
LAST = microseconds(datetime.max.replace(tzinfo=UTC))
"""The last moment of the year 9999."""
_FIRST_MILLISECOND, _LAST_MILLISECOND = FIRST // 1000, LAST // 1000


def text_of(number: int) -> str:
    """A number as ISO 8601, which sorts as the moments do."""
    return (_EPOCH + number * _MICROSECOND).isoformat(timespec="microseconds")


def number_of(text: str) -> int:
    """What :func:`text_of` was given."""
    return microseconds(datetime.fromisoformat(text))


def is_broker_time(milliseconds: int | None) -> bool:
    """Whether a message's own time is one, or there is none."""
    return milliseconds is None or _FIRST_MILLISECOND <= milliseconds <= _LAST_MILLISECOND


def numbers(values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Times or dates as numbers; nulls stay."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_date(values.type):
        return pc.multiply(values.cast(pa.int32()).cast(pa.int64()), _DAY)
    return values.cast(pa.timestamp("us", values.type.tz)).cast(pa.int64())


def out_of_range(values: pa.Array) -> pa.Array:
    """Which values are, or hold, a time before the year 1 or after 9999."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = pa.repeat(pa.scalar(False), len(values))
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        found = numbers(values)
        outside = pc.or_(pc.less(found, FIRST), pc.greater(found, LAST))
        return pc.fill_null(outside, False)
    if pa.types.is_struct(values.type):
        for at in range(values.type.num_fields):
            mask = pc.or_(mask, out_of_range(pc.struct_field(values, at)))
    elif pa.types.is_list(values.type):
        rows = pc.list_parent_indices(values).filter(out_of_range(pc.list_flatten(values)))
        return pc.is_in(pa.array(range(len(values)), rows.type), pc.unique(rows))
    return mask
