"""The types of a feature table's columns, by what each column is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.config.metrics import Task
from mlops_assets.config.problems import nearest
from mlops_assets.config.project import ProjectSpec
from mlops_assets.errors import SchemaError
from mlops_assets.tables.contract import require_distinct_names
from mlops_assets.tables.profile import TableProfile

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")
_WHOLE = ("tinyint", "smallint", "int", "bigint")
_FLOATING = ("float", "double")
_TIMES = ("timestamp", "timestamp_ntz", "date")
OUTSIDE = -1
"""Staged in place of a binary label that is neither 0 nor 1; such data are never published."""


@dataclass(frozen=True)
class Role:
    """What a column is for.

    Attributes:
        name: In words, for messages.
        types: Spark SQL types that it may have.
        cast: From the query's column to the stored one.
        fix: What to write in the query otherwise.
    """

    name: str
    types: tuple[str, ...]
    cast: Callable[[Expression, str], Expression]
    fix: str


def cast_columns(df: DataFrame, spec: ProjectSpec, where: str) -> DataFrame:
    """Check the query's output against the declared columns and give each its stored type.

    Numeric inputs become float, categorical ones text, the time a timestamp, the label what the
    task needs; entity and further columns stay as they are.

    Raises:
        SchemaError: Columns are missing, ambiguous or of a type that does not fit; all at once.
    """
    require_distinct_names(df.columns, where)
    types = {field.name: _type_name(field.dataType) for field in df.schema}
    roles = column_roles(spec)
    problems = [*_missing(spec, types), *_misfits(roles, types)]
    if problems:
        raise SchemaError(
            "the query's columns do not fit the declared ones",
            where=where,
            found="\n    ".join(["", *problems]),
            expected=f"the columns under `features:`; the query returns {', '.join(types)}",
            fix="change the query's SELECT, or the names under `features:`",
        )
    return df.select(*(_stored(name, kind, roles.get(name)) for name, kind in types.items()))


def column_roles(spec: ProjectSpec) -> dict[str, Role]:
    """The declared columns whose type matters."""
    features = spec.features
    roles = dict.fromkeys(features.inputs.numeric, _NUMERIC)
    roles |= dict.fromkeys(features.inputs.categorical, _CATEGORICAL)
    return roles | {features.time: _TIME, features.label.column: _LABELS[spec.task]}


def check_values(staged: DataFrame, found: TableProfile, spec: ProjectSpec, where: str) -> None:
    """Refuse values that no model could be fitted to.

    Raises:
        SchemaError: A time or entity is missing, or a label is outside the task's domain.
    """
    features = spec.features
    for role, name in (("time", features.time), ("entity", features.entity)):
        missing = found.column(name).nulls
        if missing:
            raise SchemaError(
                f"the {role} is missing in some rows",
                where=where,
                found=f"{missing:,} of {found.rows:,} rows without {name}",
                expected="none",
                fix=f"leave these rows out in the query: WHERE {name} IS NOT NULL",
            )
    label = found.column(features.label.column)
    smallest, largest = label.min, label.max
    if spec.task == "binary" and {smallest, largest} - {0, 1, None}:
        column = quoted(label.column)
        outside = staged.where(f"{column} NOT IN (0, 1)").count()
        raise SchemaError(
            "the label of a binary task has other values than 0 and 1",
            where=where,
            found=f"{outside:,} of {found.rows:,} rows with another value of {label.column}",
            expected="0, 1 or null (unlabelled)",
            fix="compare in the query, such as `delay > 15 AS is_late`, or set `task:`",
        )
    if label.infinite:
        raise SchemaError(
            "the label is infinite in some rows",
            where=where,
            found=f"{label.infinite:,} of {found.rows:,} rows",
            expected="finite numbers or null (unlabelled)",
        )


def _missing(spec: ProjectSpec, types: dict[str, str]) -> list[str]:
    features = spec.features
    declared = {
        features.entity: "entity",
        features.time: "time",
        features.label.column: "label",
        **dict.fromkeys(features.inputs.names, "input"),
        **dict.fromkeys(spec.evaluation.slices, "slice"),
        **dict.fromkeys(features.pii, "pii"),
    }
    lines = []
    for name, role in declared.items():
        if name not in types:
            near = nearest(name, types)
            lines.append(f"- {name} ({role})" + (f"; did you mean {near}?" if near else ""))
    return lines


def _misfits(roles: dict[str, Role], types: dict[str, str]) -> list[str]:
    lines = []
    for name, kind in types.items():
        role = roles.get(name)
        if role is None and kind == "void":
            lines.append(f"~ {name} has no type; cast it, such as CAST(NULL AS DOUBLE)")
        elif role is not None and kind not in (*role.types, "void"):
            lines.append(f"~ {name} is {kind}, but a {role.name} is needed; {role.fix}")
    return lines


def _stored(name: str, kind: str, role: Role | None) -> Expression:
    from pyspark.sql import functions as sf

    column = sf.col(quoted(name))
    return column if role is None else role.cast(column, kind).alias(name)


def quoted(name: str) -> str:
    """A column's name as Spark SQL reads it, whatever is in it."""
    return f"`{name.replace('`', '``')}`"


def _type_name(data_type: DataType) -> str:
    """A type's name without its parameters."""
    name: str = data_type.simpleString()
    return name.partition("(")[0].partition("<")[0]


def _number(column: Expression, _kind: str) -> Expression:
    return column.cast("float")


def _text(column: Expression, kind: str) -> Expression:
    """Text; an empty one is a missing one, as for a client of the served model."""
    from pyspark.sql import functions as sf

    return (
        sf.nullif(column.cast("string"), sf.lit("")) if kind == "string" else column.cast("string")
    )


def _timestamp(column: Expression, _kind: str) -> Expression:
    return column.cast("timestamp")


def _binary(column: Expression, kind: str) -> Expression:
    from pyspark.sql import functions as sf

    if kind in ("boolean", "void"):
        return column.cast("int")
    known = sf.when(column == 0, 0).when(column == 1, 1)
    unlabelled = column.isNull()
    if kind in _FLOATING:
        unlabelled = unlabelled | sf.isnan(column)
    return known.when(unlabelled, sf.lit(None)).otherwise(OUTSIDE).cast("int")


def _target(column: Expression, kind: str) -> Expression:
    from pyspark.sql import functions as sf

    number = column.cast("double")
    return sf.when(~sf.isnan(number), number) if kind in _FLOATING else number


_NUMERIC = Role(
    "number", (*_NUMBERS, "boolean"), _number, "cast it, or make it a categorical input"
)
_CATEGORICAL = Role(
    "text, boolean or whole number",
    ("string", "char", "varchar", "boolean", *_WHOLE),
    _text,
    "cast it to STRING, or make it a numeric input",
)
_TIME = Role("timestamp or date", _TIMES, _timestamp, "cast it to TIMESTAMP")
_LABELS: dict[Task, Role] = {
    "binary": Role(
        "boolean or 0/1", (*_NUMBERS, "boolean"), _binary, "compare, such as `x = 'yes' AS label`"
    ),
    "multiclass": Role(
        "text, boolean or whole number",
        ("string", "char", "varchar", "boolean", *_WHOLE),
        _text,
        "cast it to STRING",
    ),
    "regression": Role("number", _NUMBERS, _target, "cast it to DOUBLE"),
}
