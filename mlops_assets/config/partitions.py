"""``partitions:`` parts of a source that are taken, and taken again, each on its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from mlops_assets.config.base import Duration, Spec
from mlops_assets.config.problems import FieldProblem, FieldProblems, show
from mlops_assets.config.source_base import Intake, SourceBase

Step = Literal["hour", "day", "week", "month"]

_DAY = timedelta(days=1)
KEYS = {"hour": "%Y-%m-%d-%H:%M", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m-%d"}
"""Names of partitions, by ``strftime`` of their beginnings; Dagster's own."""
_LENGTHS = {"hour": timedelta(hours=1), "day": _DAY, "week": timedelta(weeks=1)}
_MAX_PARTITIONS = 100_000
_DIRECTIVE = re.compile(r"%(.?)")
DIRECTIVES = "YmdHjGV"
"""What may follow a ``%`` in an address: parts of a date, by ``strftime``."""
ADDRESSES = {"hour": "%Y/%m/%d/%H", "day": "%Y/%m/%d", "week": "%G/%V", "month": "%Y/%m"}
"""Addresses that tell partitions apart, as examples."""

DATE_PATTERN = r"^\d{4}-\d{2}-\d{2}([T ].+)?$"
_DATE = re.compile(DATE_PATTERN)
_YEARS = range(1900, 2200)
"""Of the first partition: far enough from the ends of the calendar for every sum."""


def _written_as_date(value: object) -> object:
    """Refuse numbers, which pydantic takes for seconds since 1970.

    Raises:
        FieldProblems: The value is not written as a date.
    """
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise FieldProblems([FieldProblem((), show(value), "a date such as 2024-01-01")])


def _within_years(moment: datetime) -> datetime:
    if moment.year not in _YEARS:
        expected = f"a date from {_YEARS[0]} to {_YEARS[-1]}, such as 2024-01-01"
        raise FieldProblems([FieldProblem((), _as_written(moment), expected)])
    return moment


def _as_written(moment: datetime) -> str:
    """A day without a time that nobody wrote."""
    text = moment.isoformat()
    return text.removesuffix("T00:00:00")


Start = Annotated[
    datetime,
    BeforeValidator(_written_as_date),
    AfterValidator(_within_years),
    WithJsonSchema({"type": "string", "pattern": DATE_PATTERN, "examples": ["2024-01-01"]}),
]


class TimePartitions(Spec):
    """One partition for each hour, day, week or month, in UTC."""

    every: Step
    """``hour``, ``day``, ``week`` (from Monday) or ``month``."""
    start: Start
    """Where the first partition begins, such as ``2024-01-01``; in UTC."""
    after: Duration = timedelta(0)
    """How long after its end a partition is taken: the time in which data still arrive."""
    look_back: Duration = timedelta(days=3)
    """How long after its end a partition is looked at again and, when it changed, taken again.
    Older ones change by a back-fill only."""
    look_every: Duration = timedelta(minutes=5)
    """How often the source is looked at."""
    missing: Literal["block", "warn"] = "block"
    """When a partition is not there and a later one is: ``block`` publishes no raw data with the
    hole in them, ``warn`` goes on and says so."""

    @model_validator(mode="after")
    def _start_begins_a_partition(self) -> TimePartitions:
        start = self.first
        floor = _floor(self.every, start)
        problems = []
        if start != floor:
            such = f"such as {floor:{KEYS[self.every]}} (UTC)"
            expected = f"the beginning of {with_article(self.every)}, {such}"
            problems.append(FieldProblem(("start",), _as_written(self.start), expected))
        elif datetime.now(UTC) - start > _MAX_PARTITIONS * _LENGTHS.get(self.every, _DAY):
            expected = f"at most {_MAX_PARTITIONS:,} partitions until today"
            problems.append(FieldProblem(("start",), _as_written(self.start), expected))
        if problems:
            raise FieldProblems(problems)
        return self

    @property
    def intake(self) -> Intake:
        """When partitions are taken."""
        return Intake(every=self.look_every)

    @property
    def first(self) -> datetime:
        """Where the first partition begins (UTC)."""
        has_zone = self.start.tzinfo is not None
        return self.start.astimezone(UTC) if has_zone else self.start.replace(tzinfo=UTC)

    def due(self, now: datetime) -> list[Window]:
        """The partitions that may be taken, oldest first.

        Args:
            now: The present (UTC).
        """
        found: list[Window] = []
        start = self.first
        while (end := _next(self.every, start)) + self.after <= now:
            found.append(self._window(start))
            start = end
        return found

    def window(self, key: str) -> Window:
        """The partition of a key.

        Raises:
            ValueError: There is no such partition.
        """
        start = datetime.strptime(key, KEYS[self.every]).replace(tzinfo=UTC)
        if start < self.first or start != _floor(self.every, start):
            raise ValueError(f"no partition {key!r}")
        return self._window(start)

    def _window(self, start: datetime) -> Window:
        return Window(start.strftime(KEYS[self.every]), start, _next(self.every, start))


@dataclass(frozen=True)
class Window:
    """A partition by time.

    Attributes:
        key: Its name, as Dagster writes it: ``2024-01-31`` or, by the hour, ``2024-01-31-23:00``.
        start: Its first moment (UTC).
        end: The first moment after it (UTC).
    """

    key: str
    start: datetime
    end: datetime


def with_article(step: Step) -> str:
    """``a day``, ``an hour``."""
    return f"an {step}" if step == "hour" else f"a {step}"


def address_problem(uri: str, partitions: TimePartitions) -> str | None:
    """What is wrong with an address that should name each partition, if anything is."""
    unknown = [d for d in _DIRECTIVE.findall(uri) if d not in DIRECTIVES or not d]
    if unknown:
        return f"%{unknown[0]}, which is none of {', '.join(f'%{d}' for d in DIRECTIVES)}"
    moments = _probes(partitions.every)
    if len({moment.strftime(uri) for moment in moments}) < len(moments):
        return f"{uri}, the same address for different {partitions.every}s"
    return None


def _probes(every: Step) -> set[datetime]:
    """Beginnings of partitions that differ in one part of a date each."""
    start = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday, and the first of a month, as is the last
    second = _next(every, start)
    return {start, second, _floor(every, start + timedelta(weeks=5)), start.replace(year=2029)}


def _floor(every: Step, moment: datetime) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if every == "hour":
        return moment.replace(minute=0, second=0, microsecond=0)
    if every == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if every == "month" else day


def _next(every: Step, start: datetime) -> datetime:
    if every == "month":
        return (start.replace(day=1) + timedelta(days=32)).replace(day=1)
    return start + _LENGTHS[every]


class OffsetPartitions(Spec):
    """One partition for each range of so many offsets."""

    offsets: int = Field(ge=1, le=1_000_000_000)
    """Offsets of one partition."""


def partitions_by_time(source: SourceBase) -> TimePartitions | None:
    """A source's partitions, where it is taken by time."""
    partitions = getattr(source, "partitions", None)
    return partitions if isinstance(partitions, TimePartitions) else None


def partitions_by_offset(source: SourceBase) -> OffsetPartitions | None:
    """A source's partitions, where it is taken by offsets."""
    partitions = getattr(source, "partitions", None)
    return partitions if isinstance(partitions, OffsetPartitions) else None
