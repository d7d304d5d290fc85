"""Reads feature tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.errors import SchemaError, StoreError

if TYPE_CHECKING:
    import pyarrow as pa


def load_table(files: Sequence[Path], columns: Sequence[str] | None = None) -> pa.Table:
    """Parquet files as one table.

    Args:
        files: The files, in the order of their rows.
        columns: Only these; all by default.

    Raises:
        StoreError: There is no readable Parquet file.
        SchemaError: A column is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts: list[pa.Table] = []
    for file in files:
        try:
            parquet = pq.ParquetFile(file)
            names = parquet.schema_arrow.names
            missing = [name for name in columns or () if name not in names]
            if missing:
                raise SchemaError(
                    "columns are missing", where=file, found=names, expected=list(columns or ())
                )
            parts.append(parquet.read(columns=None if columns is None else list(columns)))
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError("not a readable Parquet file", where=file, found=error) from error
    return pa.concat_tables(parts)
