"""Declared columns as Arrow types, and what every decoder of messages gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mlops_assets.config.spark_types import SparkType, parse_spark_type

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Decoded:
    """What a batch of messages holds.

    Attributes:
        table: The declared columns; a row for each message that could be read.
        rows: Which message each row is, in growing order.
        rejected: Which messages could not be read, and why, without any of their values.
    """

    table: pa.Table
    rows: list[int]
    rejected: dict[int, str]


class Decoder(Protocol):
    """A way to write messages."""

    def decode(self, values: list[bytes]) -> Decoded:
        """Read messages; what one of them holds never changes how another one is read.

        Raises:
            SourceError: Something that is needed to read any message is away.
        """
        ...


def arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    """Declared Spark SQL types as an Arrow schema."""
    import pyarrow as pa

    return pa.schema([(name, arrow_type(parse_spark_type(text))) for name, text in columns.items()])


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
