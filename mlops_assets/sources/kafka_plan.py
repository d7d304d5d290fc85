"""Which ranges of offsets to take next: arithmetic without a broker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.errors import SourceError
from mlops_assets.sources.incremental import LATEST, Gap, Plan, Slice
from mlops_assets.sources.kafka_times import CLOCK_SLACK, microseconds, text_of

_DIGITS = 20
ORIGIN = "origin"
"""Series of the one slice that only remembers where ``start: latest`` began in an empty topic."""
WATERMARK = "watermark"
"""Where a slice's detail keeps the newest event time that was taken before it."""
PLANNED_AT = "planned_at"
"""Where it keeps when it was planned, so that a slice that is read again is the same."""
_MAX_SLICES = 1000
"""Slices of one partition in one plan; what is beyond comes with the next."""


def series_name(partition: int) -> str:
    """A partition as a series: ``p00003``."""
    return f"p{partition:05}"


def position(offset: int) -> str:
    """An offset as a word that sorts as offsets do."""
    return f"{offset:0{_DIGITS}}"


def plan_topic(
    spec: KafkaSource,
    taken: Mapping[str, Slice],
    marks: Mapping[int, tuple[int, int]],
    where: str,
    now: datetime,
) -> Plan:
    """What there is to take of a topic.

    Args:
        spec: The source.
        taken: The newest slice of each series.
        marks: First offset and the one after the last, by partition.
        where: Whose topic it is.
        now: The time.

    Raises:
        SourceError: The topic is not the one whose messages were taken, or messages are lost and
            the source says ``on_gap: fail``.
    """
    _refuse_other_topic(spec, taken, marks, where)
    times = _times(taken, now) if spec.lateness is not None else {}
    slices: list[Slice] = []
    gaps: list[Gap] = []
    waiting = 0
    origins = _origins(spec, taken, marks)
    for partition, (low, high) in sorted(marks.items()):
        series = series_name(partition)
        is_known = series in taken
        start = int(taken[series].end) if is_known else 0
        first = max(low, start if is_known else origins.get(series, 0))
        if is_known and low > start:
            gaps.append(_gap(spec, partition, start, low, where))
        detail = _detail(spec, partition, origins)
        if first > start:
            slices.append(_skipped(detail, partition, start, first))
        waiting += max(0, high - first)
        slices += _slices(spec, partition, first, high, detail | times)
    if origins and not taken and not slices:  # an empty topic: where it began must be known later
        slices.append(Slice(ORIGIN, position(0), position(0), _begun(spec, origins)))
    return Plan(tuple(slices), waiting, tuple(gaps))


def newest_event(slices: Iterable[Slice]) -> str | None:
    """The newest event time of slices and of all that were taken before them (UTC, ISO 8601)."""
    known = [part.detail.get(key) for part in slices for key in (WATERMARK, LATEST)]
    return max((str(moment) for moment in known if moment), default=None)


def _times(taken: Mapping[str, Slice], now: datetime) -> dict[str, str]:
    """What the lateness of a slice's rows is measured by.

    A watermark from the future, which an older release may have let in, ends here: all rows would
    be late until then.
    """
    found = {PLANNED_AT: text_of(microseconds(now))}
    watermark = newest_event(taken.values())
    if watermark is not None:
        most = text_of(microseconds(now) + CLOCK_SLACK)
        found[WATERMARK] = min(watermark, most)
    return found


def _slices(
    spec: KafkaSource, partition: int, first: int, high: int, detail: dict[str, Any]
) -> list[Slice]:
    slices: list[Slice] = []
    while first < high and len(slices) < _MAX_SLICES:
        end = min(first + spec.max_messages_per_slice, high)
        if spec.partitions is not None:  # a slice lies in one of them
            end = min(end, (first // spec.partitions.offsets + 1) * spec.partitions.offsets)
        slices.append(Slice(series_name(partition), position(first), position(end), detail))
        first = end
    return slices


def _skipped(detail: dict[str, Any], partition: int, start: int, end: int) -> Slice:
    """A slice without rows over what is not taken: before the start, or lost.

    Every series begins at 0 and goes on without holes, so that two ingestions that saw different
    offsets still want the same name, which only one of them gets.
    """
    return Slice(series_name(partition), position(start), position(end), {**detail, "skip": True})


def _begun(spec: KafkaSource, origins: dict[str, int]) -> dict[str, Any]:
    return {"topic": spec.topic, "origins": origins, "skip": True}


def _origins(
    spec: KafkaSource, taken: Mapping[str, Slice], marks: Mapping[int, tuple[int, int]]
) -> dict[str, int]:
    """Where ``start: latest`` begins in each partition: where they ended at the first plan.

    Every slice carries it on, for partitions of which nothing was taken before a kill.
    """
    if spec.start != "latest":
        return {}
    for part in taken.values():
        if "origins" in part.detail:
            return dict(part.detail["origins"])
    return {series_name(number): high for number, (_, high) in marks.items()} if not taken else {}


def _detail(spec: KafkaSource, partition: int, origins: dict[str, int]) -> dict[str, Any]:
    detail: dict[str, Any] = {"topic": spec.topic, "partition": partition}
    return detail | {"origins": origins} if origins else detail


def _gap(spec: KafkaSource, partition: int, start: int, low: int, where: str) -> Gap:
    lost = f"partition {partition}, offsets {start} to {low - 1}"
    if spec.on_gap == "fail":
        raise SourceError(
            "messages were deleted before they were taken",
            where=f"{where}, topic {spec.topic}",
            found=f"{lost} are gone",
            expected=f"partition {partition} from offset {start} on",
            fix="lengthen the topic's retention; to go on without them, write `on_gap: report`",
        )
    reason = f"{lost} of topic {spec.topic} were deleted before they were taken"
    return Gap(series_name(partition), position(start), position(low), reason)


def _refuse_other_topic(
    spec: KafkaSource,
    taken: Mapping[str, Slice],
    marks: Mapping[int, tuple[int, int]],
    where: str,
) -> None:
    marks_of = {series_name(partition): mark for partition, mark in marks.items()}
    for series, part in sorted(taken.items()):
        topic = part.detail.get("topic", spec.topic)
        high = marks_of[series][1] if series in marks_of else 0
        if topic == spec.topic and (series == ORIGIN or int(part.end) <= high):
            continue
        expected = f"topic {topic} with at least {int(part.end)} offsets in {series}"
        if series == ORIGIN:
            found, expected = f"topic {spec.topic}", f"topic {topic}"
        elif series in marks_of:
            found = f"{series} ends at offset {high} of topic {spec.topic}"
        else:
            found = f"no partition {series}"
        raise SourceError(
            "this is not the topic whose messages were taken",
            where=f"{where}, topic {spec.topic}",
            found=found,
            expected=expected,
            fix="if the topic was deleted and made again, or another one is meant, give the "
            "source a new name: its messages are then taken from `start` on, and the old ones "
            "stay under the old name",
        )
