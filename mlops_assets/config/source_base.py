"""What the specs of all kinds of sources share."""

from __future__ import annotations

from mlops_assets.config.base import ColumnName, Spec


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
