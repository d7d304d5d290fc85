"""Avro schemas, and which of them are safe to read strangers' messages with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_MAX_DEPTH = 100
_RECORDS = {"record", "error"}


class AvroSchemaError(Exception):
    """A schema is not used; the text says why."""


def parse_avro(text: str, names: dict[str, Any]) -> Any:
    """A schema as fastavro reads it.

    Args:
        text: As it was registered.
        names: Types that it may refer to; its own are added.

    Raises:
        AvroSchemaError: It is none, or messages could be made for it that overflow the stack or
            take no end (:func:`refuse_unsafe`).
    """
    import fastavro
    from fastavro.schema import SchemaParseException, UnknownType

    try:
        schema = json.loads(text, object_hook=_without_uuid)
        # A union is read without the names that a record carries along.
        parsed = fastavro.parse_schema(schema, names, expand=isinstance(schema, list))
    except (ValueError, KeyError, TypeError, RecursionError, SchemaParseException, UnknownType):
        raise AvroSchemaError("not an Avro schema") from None
    refuse_unsafe(parsed, names)
    return parsed


def _without_uuid(node: dict[str, Any]) -> dict[str, Any]:
    """UUIDs stay the text that they are written as: no declared type is one."""
    if node.get("logicalType") == "uuid" and node.get("type") == "string":
        del node["logicalType"]
    return node


def refuse_unsafe(schema: Any, names: Mapping[str, Any]) -> None:
    """Refuse what a reader in C cannot be trusted with.

    A record that contains itself is as deep as a message says, and fastavro recurses in C: a
    message of a megabyte ends the process. Items that take no bytes are as many as a message says.
    All others end with the message's bytes.

    Args:
        schema: A parsed schema.
        names: Its named types.

    Raises:
        AvroSchemaError: It contains itself, is too deep, or has such an array.
    """
    _Walk(names).look(schema, ())


class _Seen(NamedTuple):
    """What is known of a type.

    Attributes:
        is_empty: Whether its values take no bytes.
        levels: How many types lie within one another in it.
    """

    is_empty: bool
    levels: int = 0


class _Walk:
    """Looks at each named type once."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._known: dict[str, _Seen] = {}

    def look(self, node: Any, around: tuple[str, ...]) -> _Seen:
        """Look at a type.

        Args:
            node: The type.
            around: What it stands in; names of records, and ``""`` for what has none.
        """
        seen = self._look(node, around) if len(around) <= _MAX_DEPTH else None
        if seen is None or len(around) + seen.levels > _MAX_DEPTH:
            raise AvroSchemaError(f"an Avro schema with more than {_MAX_DEPTH} levels")
        return seen

    def _look(self, node: Any, around: tuple[str, ...]) -> _Seen:
        if isinstance(node, list):
            return _Seen(False, self._levels(node, (*around, "")))
        if isinstance(node, str):
            named = self._names.get(node)
            return _Seen(node == "null") if named is None else self.look(named, around)
        kind = node["type"]
        if kind in ("array", "map"):
            return self._many(node, (*around, ""))
        if kind == "fixed":
            return _Seen(bool(node["size"] == 0))
        if kind == "enum":
            return _Seen(False)
        if isinstance(kind, str) and kind in _RECORDS:
            return self._record(node, around)
        inner = self.look(kind, (*around, ""))
        return _Seen(inner.is_empty, inner.levels + 1)

    def _levels(self, nodes: Iterable[Any], around: tuple[str, ...]) -> int:
        return 1 + max((self.look(node, around).levels for node in nodes), default=0)

    def _many(self, node: Any, around: tuple[str, ...]) -> _Seen:
        is_map = node["type"] == "map"
        item = self.look(node["values" if is_map else "items"], around)
        if item.is_empty and not is_map:  # each value of a map has a key, which takes some
            raise AvroSchemaError("an Avro schema with an array of items that take no bytes")
        return _Seen(False, item.levels + 1)

    def _record(self, node: Any, around: tuple[str, ...]) -> _Seen:
        name = node["name"]
        if name in around:
            raise AvroSchemaError(f"an Avro schema that contains itself: {name}"[:200])
        if name not in self._known:
            inner = (*around, name)
            fields = [self.look(field["type"], inner) for field in node["fields"]]
            levels = 1 + max((field.levels for field in fields), default=0)
            self._known[name] = _Seen(all(field.is_empty for field in fields), levels)
        return self._known[name]
