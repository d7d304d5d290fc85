"""One file of a stream as an Arrow table with the declared columns and types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.metrics import Task
from mlops_assets.errors import SchemaError, SourceError
from mlops_assets.monitoring.streams import Stream, StreamColumn

if TYPE_CHECKING:
    import pyarrow as pa


def read_file(path: Path, stream: Stream, task: Task) -> pa.Table:
    """Read and normalise one file.

    Raises:
        SourceError: It cannot be read.
        SchemaError: A required column is missing, or a column holds something else.
    """
    import pyarrow as pa

    raw = _read(path, stream)
    columns = {}
    for column in stream.columns:
        if column.name in raw.column_names:
            columns[column.name] = _convert(raw[column.name], column, task, path)
        elif column.required:
            raise SchemaError(
                "a required column is missing",
                where=path,
                found=", ".join(raw.column_names[:30]),
                expected=column.name,
                fix=f"log it, or name the column that holds it under monitoring.{stream.name}",
            )
        else:
            columns[column.name] = pa.nulls(raw.num_rows, _type(column, task))
    table = pa.table(columns)
    return _with_identity(table, stream, path)


def _read(path: Path, stream: Stream) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json
    import pyarrow.parquet

    try:
        if stream.place.format == "jsonl":
            return pyarrow.json.read_json(path)
        return pyarrow.parquet.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            "a file cannot be read",
            where=path,
            found=str(error).splitlines()[0],
            expected=f"{stream.place.format or 'parquet'}, whole",
            fix="write files under a hidden name and rename them when they are complete",
        ) from error


def _type(column: StreamColumn, task: Task) -> pa.DataType:
    import pyarrow as pa

    if column.kind == "prediction":
        return pa.list_(pa.float64()) if task == "multiclass" else pa.float64()
    if column.kind == "label":
        return pa.string() if task == "multiclass" else pa.float64()
    return {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "time": pa.timestamp("us", tz="UTC"),
    }[column.kind]


def _convert(
    values: pa.ChunkedArray, column: StreamColumn, task: Task, path: Path
) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    target = _type(column, task)
    try:
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if column.kind == "time" and pa.types.is_string(values.type):
            return pc.assume_timezone(_naive(values), "UTC")
        if pa.types.is_timestamp(target) and pa.types.is_timestamp(values.type):
            return _in_utc(values)
        if pa.types.is_boolean(values.type) and pa.types.is_floating(target):
            values = values.cast(pa.int8())
        return values.cast(target)
    except pa.ArrowException as error:
        raise SchemaError(
            "a column holds something else",
            where=f"{path} column {column.name}",
            found=f"{values.type} ({str(error).splitlines()[0]})",
            expected=str(target),
        ) from error


def _in_utc(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    cut = values.cast(pa.timestamp("us", tz=values.type.tz), safe=False)
    return cut.cast(pa.timestamp("us", tz="UTC")) if cut.type.tz else pc.assume_timezone(cut, "UTC")


def _naive(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601 texts as UTC without a zone; texts without an offset are in UTC."""
    import pandas as pd
    import pyarrow as pa

    moments = pd.to_datetime(texts.to_pandas(), utc=True, format="ISO8601", errors="coerce")
    naive = moments.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return pa.chunked_array([pa.array(naive, pa.timestamp("us"))])


def _with_identity(table: pa.Table, stream: Stream, path: Path) -> pa.Table:
    """Rows with an identity and, in the log, a time; a file of none but others is refused."""
    import pyarrow.compute as pc

    required = [c.name for c in stream.columns if c.required and c.kind in ("text", "time")]
    keep = None
    for name in required:
        known = pc.is_valid(table[name])
        keep = known if keep is None else pc.and_(keep, known)
    kept = table.filter(keep)
    if table.num_rows and not kept.num_rows:
        raise SchemaError(
            "no row can be used", where=path, expected=f"values in {', '.join(required)}"
        )
    return kept
