"""What a table must look like: columns and types, compared with a readable difference."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mlops_assets.config.problems import nearest
from mlops_assets.config.source_base import SourceBase
from mlops_assets.errors import SchemaError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from resources.manifest import Column

_ALIASES = {
    "byte": "tinyint",
    "short": "smallint",
    "integer": "int",
    "long": "bigint",
    "real": "float",
    "dec": "decimal",
    "numeric": "decimal",
    "timestamp_ltz": "timestamp",
}
_WORD = re.compile(r"[a-z_][a-z_0-9]*")
_BARE_DECIMAL = re.compile(r"\bdecimal\b(?!\()")


def canonical_type(text: str) -> str:
    """A Spark SQL type in the words that Spark itself uses: ``LONG`` is ``bigint``."""
    compact = "".join(text.lower().split())
    named = _WORD.sub(lambda word: _ALIASES.get(word[0], word[0]), compact)
    return _BARE_DECIMAL.sub("decimal(10,0)", named)


def check_columns(
    df: DataFrame, spec: SourceBase, before: Sequence[Column], where: str
) -> list[str]:
    """Hold a source's columns against the declared ones, or else against those of before.

    Args:
        df: The source.
        spec: Its spec.
        before: Columns of the version before; empty when there is none.
        where: The source, for messages.

    Returns:
        Columns that the version before did not have.

    Raises:
        SchemaError: Columns are gone, have other types, or share a name.
    """
    found = {field.name: field.dataType.simpleString() for field in df.schema}
    require_distinct_names(df.columns, where)
    known = {column.name: column.type for column in before}
    check_contract(found, spec.columns or known, where)
    require_columns(spec.pii, found, where, "column under `pii`")
    require_columns([spec.time_column] if spec.time_column else [], found, where, "time_column")
    return [column for column in found if known and column not in known]


def check_contract(found: Mapping[str, str], contract: Mapping[str, str], where: str) -> list[str]:
    """Compare a table's columns with what they must be.

    Args:
        found: Types by column name, as they are.
        contract: Types by column name, as they must be; empty allows everything.
        where: What the table is.

    Returns:
        Columns beyond the contract: they pass.

    Raises:
        SchemaError: A column is gone or has another type; the message is the whole difference.
    """
    added = [name for name in found if name not in contract]
    dropped = [name for name in contract if name not in found]
    retyped = [
        name
        for name in contract
        if name in found and canonical_type(found[name]) != canonical_type(contract[name])
    ]
    if not contract:
        return []
    if dropped or retyped:
        raise SchemaError(
            "the columns are not those of the contract",
            where=where,
            found=_difference(found, contract, added=added, dropped=dropped, retyped=retyped),
            expected=", ".join(f"{name} {contract[name]}" for name in [*dropped, *retyped]),
            fix="repair the source, or, if the change is meant, write the new `columns:` of the "
            "source into defs.yaml",
        )
    return added


def require_columns(names: Iterable[str], found: Iterable[str], where: str, role: str) -> None:
    """Refuse a name that is not a column.

    Raises:
        SchemaError: With the nearest column.
    """
    columns = list(found)
    for name in names:
        if name not in columns:
            near = nearest(name, columns)
            raise SchemaError(
                f"the {role} is not a column",
                where=where,
                found=name,
                expected=_listed(columns),
                fix=f"did you mean {near}?" if near else None,
            )


def require_distinct_names(names: Iterable[str], where: str) -> None:
    """Refuse columns whose names differ in case only, or not at all: Spark takes them for one.

    Raises:
        SchemaError: There are such columns.
    """
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            raise SchemaError(
                "two columns have the same name",
                where=where,
                found=f"{seen[name.lower()]} and {name}",
                expected="names that differ in more than upper and lower case",
                fix="rename one of them",
            )
        seen[name.lower()] = name


def _listed(columns: list[str], limit: int = 30) -> str:
    rest = f" and {len(columns) - limit} more" if len(columns) > limit else ""
    return f"one of {', '.join(columns[:limit])}{rest}"


def _difference(
    found: Mapping[str, str],
    contract: Mapping[str, str],
    *,
    added: list[str],
    dropped: list[str],
    retyped: list[str],
) -> str:
    lines = []
    for name in dropped:
        near = difflib.get_close_matches(name, added, n=1, cutoff=0.6)
        hint = f" (renamed to {near[0]}?)" if near else ""
        lines.append(f"- {name} {contract[name]}{hint}")
    lines += [f"~ {name} {contract[name]} → {found[name]}" for name in retyped]
    lines += [f"+ {name} {found[name]}" for name in added]
    return "\n    ".join(["", *lines])
