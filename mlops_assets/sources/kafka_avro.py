"""Avro messages, by a schema registry or by one schema file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from mlops_assets.config.kafka import AvroFormat
from mlops_assets.errors import ConfigError
from mlops_assets.sources.kafka_framing import HEADER_BYTES, schema_number
from mlops_assets.sources.kafka_rows import PoisonError, Row

if TYPE_CHECKING:
    from resources.schema_registry import Registry


class AvroParser:
    """Reads a message with the schema that it was written with.

    Args:
        spec: The format.
        read: Gives a file that the YAML names.
        where: For messages: whose topic it is.

    Raises:
        ConfigError: The schema file is not an Avro record.
        EnvironmentProblemError: A variable for the registry is not set.
    """

    def __init__(self, spec: AvroFormat, read: Callable[[str], bytes], where: str) -> None:
        from resources.schema_registry import Registry

        self._registry = Registry(spec.registry, where) if spec.registry else None
        self._schemas: dict[int, Any] = {}
        file = spec.schema_file
        self._fixed = _load(read(file), f"{where} {file}") if file else None

    def __call__(self, value: bytes) -> Row:
        """A message's record.

        Raises:
            PoisonError: It is not one.
            SourceError: The registry is away.
        """
        if self._fixed is not None:
            return _read(self._fixed, value, 0)
        return _read(self._schema(schema_number(value, "Avro")), value, HEADER_BYTES)

    def _schema(self, number: int) -> Any:
        if number not in self._schemas:
            self._schemas[number] = self._fetch(number)
        if self._schemas[number] is None:
            raise PoisonError(f"the registry has no usable Avro record with schema id {number}")
        return self._schemas[number]

    def _fetch(self, number: int) -> Any:
        """The schema, or None when the registry answers and has no such Avro record."""
        registry = cast("Registry", self._registry)
        found = registry.schema(number)
        if found is None or found.type != "AVRO":
            return None
        names: dict[str, Any] = {}
        for _, inner in registry.referenced(found):
            if _parse(inner.text, names) is None:
                return None
        return _parse(found.text, names)


def _read(schema: Any, value: bytes, start: int) -> Row:
    """One record, which takes up the whole message."""
    import fastavro

    stream = io.BytesIO(value)
    stream.seek(start)
    try:
        record = fastavro.schemaless_reader(stream, schema, None)
    # fastavro has no error of its own: bad bytes end in whatever the place raises.
    except Exception:  # noqa: BLE001
        record = None
    if not isinstance(record, dict) or stream.tell() != len(value):
        raise PoisonError("not one Avro record of its schema")
    return cast(Row, record)


def _parse(text: str, names: dict[str, Any] | None = None) -> Any:
    """A schema, or None.

    Args:
        text: As it was registered.
        names: Types that it may refer to; its own are added.
    """
    import fastavro
    from fastavro.schema import SchemaParseException, UnknownType

    try:
        schema = json.loads(text)
        # A union is read without the names that a record carries along.
        return fastavro.parse_schema(schema, names, expand=isinstance(schema, list))
    except (ValueError, KeyError, TypeError, SchemaParseException, UnknownType):
        return None


def _load(schema_file: bytes, where: str) -> Any:
    schema = _parse(schema_file.decode(errors="replace"))
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise ConfigError("not an Avro schema of a record", where=where)
    return schema
