"""What becomes of messages in a slice, without a broker."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.keys import ProjectId
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.incremental import DEAD_LETTERS, Written
from mlops_assets.sources.kafka_write import SliceTimes, SliceWriter
from resources.kafka import Messages

NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)
COLUMNS = {"id": "bigint", "at": "timestamp"}
NO_TIMES = SliceTimes()


def source(**options: Any) -> KafkaSource:
    base = {"type": "kafka", "bootstrap_servers": "a:1", "topic": "t", "columns": COLUMNS}
    return KafkaSource.model_validate({**base, **options})


def write(
    folder: Path,
    spec: KafkaSource,
    messages: list[tuple[int | None, Any]],
    times: SliceTimes = NO_TIMES,
) -> tuple[Written, list[int], dict[int, str]]:
    """What a slice holds, the ids of its rows, and reasons of its dead letters by offset."""
    values = [json.dumps(value).encode() for _, value in messages]
    moments = [moment for moment, _ in messages]
    none: list[bytes | None] = [None] * len(values)
    folder.mkdir()
    with SliceWriter(spec, folder, context(folder), times) as writer:
        writer.add(0, Messages(list(range(len(values))), moments, none, [*values]))
    rows, letters = folder / "part-00000.parquet", folder / DEAD_LETTERS
    ids = pq.read_table(rows)["id"].to_pylist() if rows.exists() else []
    lines = letters.read_text().splitlines() if letters.exists() else []
    reasons = {one["offset"]: one["reason"] for one in map(json.loads, lines)}
    return writer.written(), ids, reasons


def context(folder: Path) -> SourceContext:
    return SourceContext(ProjectId("team", "mine"), folder, folder, "orders")


@pytest.mark.parametrize(
    "moment",
    [time.time_ns(), time.time_ns() // 1000, -(2**62), 2**63 - 1],
    ids=["nanoseconds", "microseconds", "long ago", "largest"],
)
@pytest.mark.parametrize("options", [{}, {"time_column": "_timestamp"}])
def test_a_broker_time_that_is_none_is_set_aside(
    tmp_path: Path, moment: int, options: dict[str, Any]
) -> None:
    """A producer chooses it; one that does so badly must not stop the partition."""
    messages = [(NOON, {"id": 1}), (moment, {"id": 2}), (NOON + 1, {"id": 3})]
    written, ids, reasons = write(tmp_path / "s", source(**options), messages)
    assert ids == [1, 3]
    assert reasons == {1: "time is out of range: _timestamp"}
    newest = "2026-03-01T12:00:00.001000+00:00" if options else None
    assert written == Written(2, 1, newest)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("timestamp", "0000-01-01T00:00:00Z"),
        ("timestamp", "0001-01-01T00:00:00+02:00"),
        ("timestamp", "9999-12-31T23:59:59-02:00"),
        ("timestamp_ntz", "0000-12-31T00:00:00"),
        ("date", "0000-01-01"),
        ("array<timestamp>", ["2026-03-01", None, "0000-01-01"]),
        ("struct<at:timestamp>", {"at": "0000-01-01"}),
        ("array<struct<at:array<timestamp>>>", [None, {"at": ["0000-01-01"]}]),
    ],
)
def test_a_time_in_no_calendar_is_set_aside(tmp_path: Path, kind: str, value: Any) -> None:
    options = {"time_column": "at"} if "<" not in kind else {}
    good = {"a": [], "s": {"at": None}}.get(kind[0], "2026-03-01")
    messages = [(NOON, {"id": i, "at": at}) for i, at in enumerate([good, value, good])]
    spec = source(columns={"id": "bigint", "at": kind}, **options)
    _, ids, reasons = write(tmp_path / "s", spec, messages)
    assert ids == [0, 2]
    assert reasons == {1: "time is out of range: at"}


def test_the_first_and_the_last_moment_are_times(tmp_path: Path) -> None:
    ends = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
    messages = [(NOON, {"id": i, "at": at}) for i, at in enumerate(ends)]
    spec = source(time_column="at", lateness="3650d", on_late="dead_letter")
    times = SliceTimes("0001-01-01T00:00:00.000000+00:00")
    _, ids, reasons = write(tmp_path / "s", spec, messages, times)
    assert (ids, reasons) == ([0, 1], {})


PLANNED = "2026-03-01T12:30:00.000000+00:00"


@pytest.mark.parametrize(
    ("sent", "planned_at", "latest"),
    [
        (NOON, PLANNED, "2026-03-01T12:05:00.000000+00:00"),
        (NOON, None, "2026-03-01T12:05:00.000000+00:00"),  # a slice of an older release
        (None, PLANNED, "2026-03-01T12:35:00.000000+00:00"),
        (NOON + 10**10, PLANNED, "2026-03-01T12:35:00.000000+00:00"),  # the producer's clock too
        (None, None, "2999-01-01T00:00:00.000000+00:00"),
    ],
)
def test_an_event_of_the_future_moves_the_watermark_no_further_than_its_sending(
    tmp_path: Path, sent: int | None, planned_at: str | None, latest: str
) -> None:
    """Otherwise every row would be late until then; the row itself is kept."""
    messages = [(sent, {"id": 1, "at": "2999-01-01"}), (sent, {"id": 2, "at": "2026-03-01T11:00"})]
    spec = source(time_column="at", lateness="2h", on_late="dead_letter")
    times = SliceTimes(None, planned_at)
    written, ids, _ = write(tmp_path / "s", spec, messages, times)
    assert (ids, written.latest) == ([1, 2], latest)
    assert write(tmp_path / "again", spec, messages, times) == (written, ids, {})


def test_the_newest_sending_counts_and_not_that_of_the_event(tmp_path: Path) -> None:
    messages = [(NOON, {"id": 1, "at": "2999-01-01"}), (NOON + 60_000, {"id": 2, "at": None})]
    messages.append((NOON + 120_000, {"id": 3, "at": "2026-03-01"}))
    written, *_ = write(tmp_path / "s", source(time_column="at", lateness="2h"), messages)
    assert written.latest == "2026-03-01T12:07:00.000000+00:00"
