"""PostgreSQL's types as types that Spark reads, and what the driver gets wrong in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.config.spark_types import parse_spark_type
from mlops_assets.errors import SchemaError
from mlops_assets.sources.arrow_types import arrow_type
from resources.sql import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

_MAX_PRECISION = 38
_LOSSY = {"money", "oid", "xid", "cid", "regclass", "regproc", "regtype"}
"""Types that the driver hands out as integers that mean something else."""
_FIRST_MICROSECOND = -62_135_596_800_000_000
_LAST_MICROSECOND = 253_402_300_799_999_999
_DAY_MICROSECONDS = 86_400_000_000


def target_schema(schema: pa.Schema, columns: Mapping[str, str], where: str) -> pa.Schema:
    """Columns as they are stored.

    Args:
        schema: As the driver describes them.
        columns: Declared Spark types by column; others than the table's own are cast to.
        where: The source, for messages.

    Raises:
        SchemaError: Columns have the same name or are missing, or have a type that Spark cannot
            read; all of these are named.
    """
    import pyarrow as pa

    from mlops_assets.tables.contract import require_columns, require_distinct_names

    require_distinct_names(schema.names, where)
    require_columns(columns, schema.names, where, "declared column")
    fields, refused = [], []
    for field in schema:
        target = _target_type(columns[field.name]) if field.name in columns else None
        stored = _stored_type(field)
        if stored is None:
            refused.append(f"{field.name} {_name(field)}")
        else:
            fields.append(pa.field(field.name, target or stored))
    if refused:
        raise SchemaError(
            "columns have types that cannot be stored",
            where=where,
            found=", ".join(refused),
            expected="numbers, text, booleans, bytes, dates, timestamps, uuid, json or enums",
            fix="cast them in a query, such as tags::text, price::numeric(12,2) or "
            "array_to_json(tags)::text, or leave them out",
        )
    return pa.schema(fields)


def _name(field: pa.Field) -> str:
    """The PostgreSQL name of a column's type."""
    name: bytes = (field.metadata or {}).get(b"POSTGRESQL:type", str(field.type).encode())
    return name.decode()


def _stored_type(field: pa.Field) -> pa.DataType | None:
    """The type of a column in Parquet, or None when there is none for it."""
    import pyarrow as pa

    name, kind = _name(field), field.type
    if name in _LOSSY:
        return None
    if name == "numeric":
        return _numeric(field)
    if name in ("uuid", "json", "jsonb"):
        return pa.string()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    same = (
        *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_string),
        *(pa.types.is_binary, pa.types.is_date32),
    )
    return kind if any(test(kind) for test in same) else None


def _numeric(field: pa.Field) -> pa.DataType:
    """``numeric(p, s)`` with p up to 38 is that decimal; any other ``numeric`` is a double."""
    import pyarrow as pa

    modifier = int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1"))
    if modifier < 0:
        return pa.float64()
    precision = ((modifier - 4) >> 16) & 0xFFFF
    scale = (((modifier - 4) & 0x7FF) ^ 1024) - 1024
    if precision > _MAX_PRECISION or not 0 <= scale <= precision:
        return pa.float64()
    return pa.decimal128(precision, scale)


def _target_type(spark_type: str) -> pa.DataType | None:
    """The Arrow type of a declared Spark type; None for types that are not cast to."""
    from mlops_assets.tables.contract import canonical_type

    try:
        kind = parse_spark_type(canonical_type(spark_type))
    except ValueError:
        return None
    return None if kind.fields else arrow_type(kind)


def to_target(batch: pa.RecordBatch, target: pa.Schema, where: str) -> pa.RecordBatch:
    """A batch as it is stored.

    Raises:
        SchemaError: A value does not fit its column's type; the value is not shown.
    """
    import pyarrow as pa

    columns = [
        _column(array, field, where) for array, field in zip(batch.columns, target, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=target)


def select_list(schema: pa.Schema, target: pa.Schema) -> str:
    """SQL of the columns, such that the driver hands each out in a form that can be stored."""
    return ", ".join(
        _selected(found, stored.type) for found, stored in zip(schema, target, strict=True)
    )


def _selected(field: pa.Field, stored: pa.DataType) -> str:
    import pyarrow as pa

    name = quoted(field.name)
    if _name(field) == "uuid":
        return f"{name}::text AS {name}"
    if _name(field) == "numeric" and pa.types.is_floating(stored):
        return f"{name}::float8 AS {name}"
    return name


def _column(array: pa.Array, field: pa.Field, where: str) -> pa.Array:
    import pyarrow as pa

    is_numeric = isinstance(array, pa.ExtensionArray) and "type_name=numeric" in str(array.type)
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    _refuse_impossible_times(storage, field.name, where)
    if storage.type == field.type:
        return storage
    if not (_is_number(field.type) and (is_numeric or _is_number(storage.type))):
        raise _misfit(field, where, f"values of type {storage.type}")
    try:
        return storage.cast(field.type, safe=True)
    except pa.ArrowException:
        problem = _misfit(field, where, "a value that does not fit (not shown)")
    raise problem


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(test(kind) for test in tests)


def _misfit(field: pa.Field, where: str, found: str) -> SchemaError:
    return SchemaError(
        "a column does not fit its type",
        where=where,
        found=f"{field.name}: {found}",
        expected=f"{field.type}",
        fix="declare another type under `columns`, or cast the column in a query",
    )


def _refuse_impossible_times(array: pa.Array, name: str, where: str) -> None:
    """PostgreSQL's ``infinity``, years before 1 and after 9999 arrive as numbers out of range."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(array.type):
        numbers, unit = array.view(pa.int64()), 1
    elif pa.types.is_date32(array.type):
        numbers, unit = array.view(pa.int32()), _DAY_MICROSECONDS
    else:
        return
    low, high = (bound.as_py() for bound in pc.min_max(numbers).values())
    if low is None:
        return
    if low * unit < _FIRST_MICROSECOND or high * unit > _LAST_MICROSECOND:
        raise SchemaError(
            "a column has times that Spark cannot hold",
            where=where,
            found=f"{name} with infinity, or a year before 1 or after 9999",
            expected="years 1 to 9999",
            fix=f"write NULLIF({name}, 'infinity') in a query, or repair the rows",
        )
