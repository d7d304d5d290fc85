"""What the specs of all kinds of sources share."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from mlops_assets.config.base import ColumnName, Duration, Spec


class Intake(Spec):
    """When new rows of a growing source are taken by themselves."""

    every: Duration = timedelta(minutes=10)
    """Rows that are waiting are taken at the latest after so long."""
    waiting: int = Field(default=100_000, ge=1)
    """Rows or messages from which they are taken at once."""


class SourceBase(Spec):
    """What all sources share."""

    description: str = ""
    """One line for the Dagster UI."""
    time_column: ColumnName | None = None
    """Column with the event time; its range is shown and used for freshness."""
    pii: tuple[ColumnName, ...] = ()
    """Columns with personal data: their values never appear in metadata, checks or logs."""
    columns: dict[ColumnName, str] = {}  # noqa: RUF012 - pydantic copies defaults
    """Expected columns with Spark SQL types; other types or missing columns block, extra columns
    pass. Empty: the version before is the contract."""

    @property
    def slices(self) -> Intake | None:
        """When slices are taken, for a source that is taken in slices."""
        return None
