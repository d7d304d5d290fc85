"""A folder that a cluster's machines should share: what says so when they do not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.errors import EnvironmentProblemError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter

_MISSING = ("FILE_NOT_EXIST", "FileNotFoundException", "does not exist")
_FIX = (
    "mount the same file system under the same path on all machines of the cluster, or put the "
    "data into S3 (MLOPS_STORE_URI=s3://…), or use `master: local`"
)


def write_counted(df: DataFrame, folder: Path, *, rows_per_file: int) -> None:
    """Let a cluster write Parquet into a folder, and count what of it is here.

    Raises:
        EnvironmentProblemError: Rows were written that this machine does not see.
    """
    import pyarrow.parquet as pq
    from pyspark.sql import Observation
    from pyspark.sql import functions as sf

    counted = Observation()
    observed = df.observe(counted, sf.count(sf.lit(1)).alias("rows"))
    parquet_writer(observed, rows_per_file).parquet(str(folder))
    written = int(counted.get["rows"])
    here = sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))
    if written != here:
        raise EnvironmentProblemError(
            "the cluster's machines do not share the store's folder",
            where=folder,
            found=f"{here:,} of {written:,} rows here; the others are on the executors' machines",
            expected="one folder for this machine and all executors",
            fix=_FIX,
        )


def parquet_writer(df: DataFrame, rows_per_file: int) -> DataFrameWriter:
    """How tables are written."""
    return df.write.mode("append").option("maxRecordsPerFile", rows_per_file)


def unshared(text: str, file: str | None) -> EnvironmentProblemError | None:
    """The error about a file that is here, and which an executor did not find.

    Args:
        text: What Spark says.
        file: The file that it names.
    """
    if file is None or not any(sign in text for sign in _MISSING) or not Path(file).exists():
        return None
    return EnvironmentProblemError(
        "an executor of the Spark cluster does not see a file that this machine has",
        where=file,
        found="no such file, on the executor's machine",
        expected="a file system that this machine and all executors share",
        fix=_FIX,
    )
