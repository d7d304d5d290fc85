"""Avro messages, by a schema registry or by one schema file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from mlops_assets.config.kafka import AvroFormat
from mlops_assets.errors import ConfigError
from mlops_assets.sources.kafka_avro_schema import AvroSchemaError, parse_avro
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
        ConfigError: The schema file is not an Avro record, or one that contains itself.
        EnvironmentProblemError: A variable for the registry is not set.
    """

    def __init__(self, spec: AvroFormat, read: Callable[[str], bytes], where: str) -> None:
        from resources.schema_registry import Registry

        self._registry = Registry(spec.registry, where) if spec.registry else None
        self._schemas: dict[int, Any] = {}
        self._refused: dict[int, str] = {}
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
        if number not in self._schemas and number not in self._refused:
            try:
                self._schemas[number] = self._fetch(number)
            except AvroSchemaError as error:
                self._refused[number] = f"schema id {number} of the registry: {error}"
        if number in self._refused:
            raise PoisonError(self._refused[number])
        return self._schemas[number]

    def _fetch(self, number: int) -> Any:
        """The schema.

        Raises:
            AvroSchemaError: The registry answers and has no Avro schema that can be used.
        """
        registry = cast("Registry", self._registry)
        found = registry.schema(number)
        if found is None or found.type != "AVRO":
            raise AvroSchemaError("not an Avro schema")
        names: dict[str, Any] = {}
        for _, inner in registry.referenced(found):
            parse_avro(inner.text, names)
        return parse_avro(found.text, names)


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


def _load(schema_file: bytes, where: str) -> Any:
    try:
        schema = parse_avro(schema_file.decode(errors="replace"), {})
        found = "another type"
    except AvroSchemaError as error:
        schema, found = None, str(error)
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise ConfigError(
            "messages cannot be read with this schema",
            where=where,
            found=found,
            expected="an Avro schema of a record, no part of which contains itself",
            fix="give the schema that the messages were written with; a tree that is as deep as "
            "each message says fits no declared column",
        )
    return schema
