"""A range of messages as Parquet, in bounded memory."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mlops_assets.config.kafka import OFFSET, PARTITION, TIMESTAMP, KafkaSource
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.incremental import DEAD_LETTERS, Written
from mlops_assets.sources.kafka_arrow import Decoder
from mlops_assets.sources.kafka_letters import DeadLetters
from mlops_assets.sources.kafka_times import (
    CLOCK_SLACK,
    FIRST,
    LAST,
    OUT_OF_RANGE,
    is_broker_time,
    number_of,
    numbers,
    out_of_range,
    text_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.kafka import Messages

_GROUP_ROWS = 100_000
_GROUP_BYTES = 64 * 1024 * 1024
_FILE = "part-00000.parquet"
_BAD_KEY = "the key is not text in UTF-8"
_TOMBSTONE = "tombstone: a message without a value"


def decoder_for(spec: KafkaSource, context: SourceContext) -> Decoder:
    """What reads a source's messages."""
    if spec.format.type == "avro":
        from mlops_assets.sources.kafka_avro import AvroParser
        from mlops_assets.sources.kafka_rows import RowDecoder

        parser = AvroParser(spec.format, context.file, context.where)
        return RowDecoder(spec.columns, parser)
    if spec.format.type == "protobuf":
        from mlops_assets.sources.kafka_protobuf import ProtobufParser
        from mlops_assets.sources.kafka_rows import RowDecoder

        return RowDecoder(spec.columns, ProtobufParser(spec.format, context.file, context.where))
    from mlops_assets.sources.kafka_json import JsonDecoder

    return JsonDecoder(spec.columns, is_framed=spec.format.framing == "confluent")


@dataclass(frozen=True)
class SliceTimes:
    """What the lateness of a slice's rows is measured by, both as ISO 8601.

    Attributes:
        watermark: Newest event time that was taken before the slice; rows older than it by more
            than the source's ``lateness`` are late.
        planned_at: When the slice was planned.
    """

    watermark: str | None = None
    planned_at: str | None = None


class SliceWriter:
    """Writes one slice. Use it in a ``with`` statement.

    Args:
        spec: The source.
        folder: An empty folder.
        context: Whose source it is.
        times: What lateness is measured by.
    """

    def __init__(
        self, spec: KafkaSource, folder: Path, context: SourceContext, times: SliceTimes
    ) -> None:
        self._spec = spec
        self._path = folder / _FILE
        self._decoder = decoder_for(spec, context)
        self._letters = DeadLetters(folder / DEAD_LETTERS, has_payload=not spec.pii)
        self._cutoff = _cutoff(spec, times.watermark)
        self._planned_at = LAST if times.planned_at is None else number_of(times.planned_at)
        self._times = [
            name for name, kind in spec.columns.items() if re.search("date|timestamp", kind, re.I)
        ]
        self._open = ExitStack()
        self._open.callback(self._letters.close)
        self._parquet: Any = None
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self._latest: int | None = None
        self._newest_sent: int | None = None

    def __enter__(self) -> SliceWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._open:
            if kind is None:
                self._flush()

    def written(self) -> Written:
        """What the slice holds, after the ``with`` statement."""
        latest = None if self._latest is None else text_of(min(self._latest, self._horizon))
        return Written(self._rows, self._letters.count, latest)

    @property
    def _horizon(self) -> int:
        """The newest time that an event can honestly have: its message was sent after it.

        Producers may choose the sending times too, so that the planning time is a limit as well.
        """
        sent = self._planned_at if self._newest_sent is None else self._newest_sent
        return min(min(sent, self._planned_at) + CLOCK_SLACK, LAST)

    def add(self, partition: int, batch: Messages) -> None:
        """Take messages, in the order of their offsets."""
        rejected: dict[int, str] = {}
        present: list[int] = []
        values: list[bytes] = []
        for index, (value, moment) in enumerate(zip(batch.values, batch.timestamps, strict=True)):
            if value is None:
                if self._spec.tombstones == "dead_letter":
                    rejected[index] = _TOMBSTONE
            elif is_broker_time(moment):
                present.append(index)
                values.append(value)
            else:
                rejected[index] = f"{OUT_OF_RANGE}: {TIMESTAMP}"
        decoded = self._decoder.decode(values)
        rejected |= {present[row]: reason for row, reason in decoded.rejected.items()}
        rows = [present[row] for row in decoded.rows]
        table = self._with_engine_columns(decoded.table, rows, partition, batch, rejected)
        for index, reason in sorted(rejected.items()):
            self._letters.add(
                (partition, batch.offsets[index]),
                batch.timestamps[index],
                reason,
                (batch.keys[index], batch.values[index]),
            )
        self._keep(table)

    def _with_engine_columns(
        self,
        table: pa.Table,
        rows: list[int],
        partition: int,
        batch: Messages,
        rejected: dict[int, str],
    ) -> pa.Table:
        """The rows with where they come from, without those that are refused for a value."""
        import pyarrow as pa

        offsets, times = batch.offsets, batch.timestamps
        if self._spec.key_column:
            keys = [_text(batch.keys[row]) for row in rows]
            keep = [i for i, (_, is_good) in enumerate(keys) if is_good]
            rejected |= {rows[i]: _BAD_KEY for i, (_, is_good) in enumerate(keys) if not is_good}
            if len(keep) < len(rows):
                table, rows = table.take(keep), [rows[i] for i in keep]
            texts = pa.array([text for text, is_good in keys if is_good], pa.string())
            table = table.append_column(self._spec.key_column, texts)
        numbers = pa.array([partition] * len(rows), pa.int32())
        moments = pa.array([times[row] for row in rows], pa.timestamp("ms", tz="UTC"))
        table = table.append_column(PARTITION, numbers)
        table = table.append_column(OFFSET, pa.array([offsets[r] for r in rows], pa.int64()))
        table = table.append_column(TIMESTAMP, moments.cast(pa.timestamp("us", tz="UTC")))
        return self._without_refused(table, rows, rejected)

    def _without_refused(
        self, table: pa.Table, rows: list[int], rejected: dict[int, str]
    ) -> pa.Table:
        """The rows that have any declared column, times that are some, and are not too late."""
        import pyarrow.compute as pc

        reasons = [(_all_null(table, list(self._spec.columns)), "none of the declared columns")]
        for name in self._times:
            strange = out_of_range(table[name].combine_chunks())
            reasons.append((strange, f"{OUT_OF_RANGE}: {name}"))
        if self._spec.time_column:
            moments = numbers(table[self._spec.time_column])
            reasons.append((pc.is_null(moments), f"no {self._spec.time_column}"))
            if self._cutoff is not None:
                late = pc.fill_null(pc.less(moments, self._cutoff), False)
                reasons.append((late, "late"))
        keep = None
        for mask, reason in reasons:
            if not pc.any(mask).as_py():
                continue
            for at in pc.indices_nonzero(mask).to_pylist():
                rejected.setdefault(rows[at], reason)
            keep = pc.invert(mask) if keep is None else pc.and_(keep, pc.invert(mask))
        return table if keep is None else table.filter(keep)

    def _keep(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        self._rows += table.num_rows
        if self._spec.time_column:
            self._latest = _newer(self._latest, numbers(table[self._spec.time_column]))
            self._newest_sent = _newer(self._newest_sent, numbers(table[TIMESTAMP]))
        self._waiting.append(table)
        rows = sum(waiting.num_rows for waiting in self._waiting)
        size = sum(waiting.nbytes for waiting in self._waiting)
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        self._waiting = []
        if self._parquet is None:
            writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
            self._parquet = self._open.enter_context(writer)
        self._parquet.write_table(table, row_group_size=_GROUP_ROWS)


def _all_null(table: pa.Table, names: list[str]) -> pa.Array:
    """Which rows have no value in any of the columns."""
    import pyarrow.compute as pc

    mask = pc.is_null(table[names[0]])
    for name in names[1:]:
        if not pc.any(mask).as_py():
            return mask
        mask = pc.and_(mask, pc.is_null(table[name]))
    return mask


def _newer(known: int | None, moments: pa.ChunkedArray) -> int | None:
    """The newest of all."""
    import pyarrow.compute as pc

    newest: int | None = pc.max(moments).as_py()
    return max((one for one in (known, newest) if one is not None), default=None)


def _text(key: bytes | None) -> tuple[str | None, bool]:
    """A key as text, and whether it is text."""
    try:
        return (None if key is None else key.decode()), True
    except UnicodeDecodeError:
        return None, False


def _cutoff(spec: KafkaSource, watermark: str | None) -> int | None:
    """Event time (see :mod:`kafka_times`) before which rows are refused."""
    if spec.on_late == "keep" or spec.lateness is None or watermark is None:
        return None
    return max(number_of(watermark) - spec.lateness // timedelta(microseconds=1), FIRST)
