"""Avro schemas, and which of them are safe to read strangers' messages with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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
    _Walk(names).takes_no_bytes(schema, ())


class _Walk:
    """Looks at each named type once."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._known: dict[str, bool] = {}

    def takes_no_bytes(self, node: Any, around: tuple[str, ...]) -> bool:
        """Whether a type's values take no bytes.

        Args:
            node: The type.
            around: What it stands in; names of records, and ``""`` for what has none.
        """
        if len(around) > _MAX_DEPTH:
            raise AvroSchemaError(f"an Avro schema with more than {_MAX_DEPTH} levels")
        if isinstance(node, list):
            for member in node:
                self.takes_no_bytes(member, (*around, ""))
            return False
        if isinstance(node, str):
            named = self._names.get(node)
            return node == "null" if named is None else self.takes_no_bytes(named, around)
        kind = node["type"]
        if kind in ("array", "map"):
            return self._many(node, (*around, ""))
        if kind == "fixed":
            return bool(node["size"] == 0)
        if kind == "enum":
            return False
        is_record = isinstance(kind, str) and kind in _RECORDS
        return self._record(node, around) if is_record else self.takes_no_bytes(kind, (*around, ""))

    def _many(self, node: Any, around: tuple[str, ...]) -> bool:
        if node["type"] == "map":
            self.takes_no_bytes(node["values"], around)  # each has a key, which takes some
        elif self.takes_no_bytes(node["items"], around):
            raise AvroSchemaError("an Avro schema with an array of items that take no bytes")
        return False

    def _record(self, node: Any, around: tuple[str, ...]) -> bool:
        name = node["name"]
        if name in around:
            raise AvroSchemaError(f"an Avro schema that contains itself: {name}"[:200])
        if name not in self._known:
            inner = (*around, name)
            empty = [self.takes_no_bytes(field["type"], inner) for field in node["fields"]]
            self._known[name] = all(empty)
        return self._known[name]
