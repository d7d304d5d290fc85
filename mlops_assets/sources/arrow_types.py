"""Declared Spark SQL types in Arrow, for sources that write Parquet without Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.config.spark_types import SparkType

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_type(kind: SparkType) -> pa.DataType:
    """A Spark SQL type in Arrow, as Spark writes it to Parquet."""
    import pyarrow as pa

    if kind.name == "decimal":
        return pa.decimal128(kind.precision, kind.scale)
    if kind.name == "array":
        return pa.list_(arrow_type(kind.fields[0][1]))
    if kind.name == "struct":
        return pa.struct([(name, arrow_type(inner)) for name, inner in kind.fields])
    plain = {
        "boolean": pa.bool_(),
        "tinyint": pa.int8(),
        "smallint": pa.int16(),
        "int": pa.int32(),
        "bigint": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "string": pa.string(),
        "binary": pa.binary(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "timestamp_ntz": pa.timestamp("us"),
    }
    return plain[kind.name]
