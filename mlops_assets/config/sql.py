"""``type: sql``: a table or a query of a PostgreSQL database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from mlops_assets.config.base import ColumnName, Duration, Spec, VariableName
from mlops_assets.config.features import RelativeFile
from mlops_assets.config.partitions import TimePartitions
from mlops_assets.config.problems import FieldProblem, FieldProblems, show
from mlops_assets.config.source_base import Intake, SourceBase

TABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_$]{0,62}\.[A-Za-z_][A-Za-z0-9_$]{0,62}$"
TableName = Annotated[str, StringConstraints(pattern=TABLE_PATTERN)]


class SqlIncremental(Spec):
    """Rows are taken in slices, by a column that only grows."""

    column: ColumnName
    """An integer that the database counts up (``id``) or a timestamp (``updated_at``). It needs an
    index, and no nulls."""
    start: int | str | None = None
    """Only rows with a larger value are taken: a whole number, or a moment such as
    ``2025-01-01T00:00:00Z``. Empty: all rows."""
    settle: Duration = timedelta(minutes=5)
    """Timestamps only: rows younger than this are left for later. Set it to more than the longest
    time between the start of a transaction and its first write."""
    wait_for_writers: Duration = timedelta(minutes=2)
    """How long the reading of a slice waits for the end of transactions that were open when it
    began: they may still commit rows that belong to it."""
    max_rows_per_slice: int = Field(default=1_000_000, ge=1, le=100_000_000)
    """Rows of a slice. More only where more rows have the same value: they are never split."""
    intake: Intake = Intake()
    """When new rows are taken."""
    nulls: Literal["refuse", "skip"] = "refuse"
    """What rows without a value in the column do: they could never be taken. ``refuse`` stops the
    source until they are gone, ``skip`` leaves them out."""

    @model_validator(mode="after")
    def _start_is_a_position(self) -> SqlIncremental:
        if isinstance(self.start, str):
            try:
                datetime.fromisoformat(self.start)
            except ValueError:
                expected = "a whole number, or a moment such as 2025-01-01T00:00:00Z"
                raise FieldProblems(
                    [FieldProblem(("start",), show(self.start), expected)]
                ) from None
        return self


class SqlSource(SourceBase):
    """A table or a query of a PostgreSQL database, whole or in slices."""

    type: Literal["sql"]
    """``sql``"""
    uri_env: VariableName
    """Name of the environment variable with the connection URI,
    ``postgresql://user:password@host:5432/database``. The URI itself never stands in YAML."""
    table: TableName | None = None
    """``schema.table``, in the database's own spelling of upper and lower case."""
    query: RelativeFile | None = None
    """File with one ``SELECT`` in PostgreSQL's dialect, beside ``defs.yaml``; instead of
    ``table``."""
    incremental: SqlIncremental | None = None
    """Take new rows in slices. Empty: the whole table is read again whenever it changed."""
    partitions: TimePartitions | None = None
    """Take the rows of each hour, day, week or month of ``time_column`` on their own; instead of
    ``incremental``, where rows of the past may still change."""
    fetch_rows: int = Field(default=50_000, ge=100, le=1_000_000)
    """Rows that are held in memory at a time."""
    statement_timeout: Duration = timedelta(minutes=30)
    """Longest time for reading the table or a slice."""
    check_timeout: Duration = timedelta(seconds=30)
    """Longest time for one statement that only looks for something new: sensors wait for it."""

    @model_validator(mode="after")
    def _one_of_table_and_query(self) -> SqlSource:
        problems = []
        if (self.table is None) == (self.query is None):
            found = "neither table nor query" if self.table is None else "both table and query"
            problems.append(FieldProblem((), found, "one of them"))
        if self.partitions and self.incremental:
            expected = "one of `partitions` and `incremental`"
            problems.append(FieldProblem(("partitions",), "both", expected))
        if self.partitions and not self.time_column:
            expected = "the column with each row's time"
            problems.append(FieldProblem(("time_column",), "none", expected))
        problems += [
            FieldProblem((name,), "no time at all", "1s or more")
            for name in ("statement_timeout", "check_timeout")
            if getattr(self, name) <= timedelta(0)
        ]
        if problems:
            raise FieldProblems(problems)
        return self

    @property
    def slices(self) -> Intake | None:
        """When slices or partitions are taken."""
        if self.partitions:
            return self.partitions.intake
        return self.incremental.intake if self.incremental else None
