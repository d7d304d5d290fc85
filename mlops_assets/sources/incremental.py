"""What a source is that grows: it is taken slice by slice, each of them exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlops_assets.sources.base import SourceContext


@dataclass(frozen=True)
class Slice:
    """A part of a source that is the same whenever it is read.

    Attributes:
        series: What the slices follow one another in, such as a topic's partition; a word of
            letters, digits, ``_``, ``-`` and ``.``.
        start: Where it begins in its series: a word without ``-`` that sorts as the positions do,
            such as an offset with leading zeros.
        end: Where it ends, and where the next slice of the series begins.
        detail: JSON that :meth:`IncrementalSource.write` needs to read exactly this part. In the
            slices that were taken the engine adds ``latest``, see :class:`Written`.
    """

    series: str
    start: str
    end: str
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name in the store: a series has one slice at each start."""
        return f"{self.series}-{self.start}"


@dataclass(frozen=True)
class Gap:
    """Data that the source no longer has and that were never taken.

    Attributes:
        series: In which series.
        start: First position that is lost.
        end: First position that is there again.
        reason: One sentence.
        at: When the engine noticed (UTC, ISO 8601); it writes that itself. Older records lack it.
    """

    series: str
    start: str
    end: str
    reason: str
    at: str | None = None


@dataclass(frozen=True)
class Plan:
    """What there is to take.

    Attributes:
        slices: New slices, in the order of their starts within each series.
        waiting: Rows or messages that are not taken yet, those of ``slices`` included; None when
            the source does not say.
        gaps: What is lost. A gap does not stop the slices after it; it is reported.
    """

    slices: tuple[Slice, ...] = ()
    waiting: int | None = None
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True)
class Written:
    """What a slice turned out to hold.

    Attributes:
        rows: Rows in its Parquet files.
        rejected: Messages in its :data:`DEAD_LETTERS` file.
        latest: Newest event time (UTC, ISO 8601), where the source has a ``time_column``.
    """

    rows: int
    rejected: int = 0
    latest: str | None = None


SLICE = "slice"
"""Where a published slice's metadata keep the :class:`Slice`."""
REJECTED = "rejected"
"""Where they keep the number of messages that could not be read."""
REJECTED_SO_FAR = "rejected_so_far"
"""Where they keep that number for the series, from its first slice on."""
PLANNED = "planned"
"""Where they keep how far the ingestion meant to come that took the slice: end by series."""
DIGEST = "digest"
"""Where a partition's metadata, and the details of one that is planned, keep what is there."""
LATEST = "latest"
"""Where a slice's detail keeps the newest event time."""
DEAD_LETTERS = "dead_letters.jsonl"
"""File beside a slice's Parquet files: what could not be read, with its position and the reason."""


class IncrementalSource(Protocol):
    """A kind of source that is taken in slices; the module's ``INCREMENTAL`` is one."""

    def plan(self, spec: Any, taken: Mapping[str, Slice], context: SourceContext) -> Plan:
        """What there is beyond the slices that were taken. Cheap: a sensor asks every minute.

        Args:
            spec: The source's spec.
            taken: The newest slice of each series, as it was planned; ``detail["latest"]`` is the
                :attr:`Written.latest` that it turned out to have, where it has one.
            context: Whose source it is.

        Raises:
            SourceError: The source is away.
        """
        ...

    def write(self, spec: Any, part: Slice, folder: Path, context: SourceContext) -> Written:
        """Write a slice as ``part-00000.parquet``, … into an empty folder, without Spark.

        Memory does not grow with the slice. The same slice gives the same rows whenever it is
        read. A slice without rows writes no Parquet file.

        Raises:
            SourceError: The source is away, or no longer has the slice.
            SchemaError: The rows do not fit the declared columns.
        """
        ...

    def show(self, spec: Any, taken: Mapping[str, Slice], context: SourceContext) -> None:
        """Tell the source's own tools what was taken, where it has such; nothing depends on it."""
        ...
