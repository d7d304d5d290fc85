"""Dagster metadata from plain results: schemas, statistics, tables and pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.errors import first_few

if TYPE_CHECKING:
    from resources.manifest import Manifest

MAX_TABLE_ROWS = 200


def column_schema(
    columns: Iterable[Any], pii: Iterable[str] = (), describe: Mapping[str, str] | None = None
) -> dg.TableSchema:
    """A table schema from columns with ``name``, ``type`` and ``nullable``."""
    hidden = set(pii)
    roles = describe or {}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=str(column.type),
                description=roles.get(column.name),
                tags={"pii": ""} if column.name in hidden else {},
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in columns
        ]
    )


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """A metadata table; at most :data:`MAX_TABLE_ROWS` rows, columns in the first row's order."""
    shown = rows[:MAX_TABLE_ROWS]
    names = list(dict.fromkeys(name for row in shown for name in row))
    records = [dg.TableRecord({name: _cell(row.get(name)) for name in names}) for row in shown]
    columns = [dg.TableColumn(name=name, type=_column_type(shown, name)) for name in names]
    return dg.MetadataValue.table(records=records, schema=dg.TableSchema(columns=columns))


def picture(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    """A PNG shown inside the UI."""
    encoded = base64.b64encode(png).decode("ascii")
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")


def code(text: str, language: str = "bash") -> dg.MarkdownMetadataValue:
    """A code block that a person can copy."""
    return dg.MetadataValue.md(f"```{language}\n{text}\n```")


def location(*manifests: Manifest) -> dg.PathMetadataValue:
    """The folders, relative to the store, in which the versions' files lie."""
    folders = sorted({str(entry.location) for found in manifests for entry in found.entries})
    return dg.MetadataValue.path(first_few(folders))


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return str(value)


def _column_type(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    values = [row.get(name) for row in rows if row.get(name) is not None]
    if values and all(isinstance(value, bool) for value in values):
        return "bool"
    if values and all(isinstance(value, (int, float)) for value in values):
        return "float"
    return "string"
