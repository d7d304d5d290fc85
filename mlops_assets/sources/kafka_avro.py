"""Avro messages, by a schema registry or by one schema file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any, cast

from mlops_assets.config.kafka import AvroFormat, SchemaRegistry
from mlops_assets.errors import ConfigError, SourceError
from mlops_assets.sources.kafka_rows import PoisonError, Row

_MAGIC = 0
_HEADER_BYTES = 5
_TIMEOUT_SECONDS = 20


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
        self._where = where
        self._registry = spec.registry
        self._log_in = _log_in(spec.registry, where)
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
        if len(value) < _HEADER_BYTES or value[0] != _MAGIC:
            raise PoisonError("not Avro in Confluent's framing")
        return _read(self._schema(int.from_bytes(value[1:5], "big")), value, _HEADER_BYTES)

    def _schema(self, number: int) -> Any:
        if number not in self._schemas:
            self._schemas[number] = self._fetch(number)
        if self._schemas[number] is None:
            raise PoisonError(f"the registry has no usable Avro record with schema id {number}")
        return self._schemas[number]

    def _fetch(self, number: int) -> Any:
        """The schema, or None when the registry answers and has no such Avro record."""
        import requests

        registry = cast(SchemaRegistry, self._registry)
        url = f"{registry.url.rstrip('/')}/schemas/ids/{number}"
        try:
            answer = requests.get(url, auth=self._log_in, timeout=_TIMEOUT_SECONDS)
            found = answer.json() if answer.status_code == requests.codes.ok else {}
        except requests.RequestException as error:
            raise self._away(type(error).__name__) from None
        if answer.status_code == requests.codes.not_found:
            return None
        if answer.status_code != requests.codes.ok or not isinstance(found, dict):
            raise self._away(f"status {answer.status_code}")
        if found.get("references"):
            raise SourceError(
                "schemas that refer to other schemas are not supported",
                where=self._where,
                found=f"schema id {number}",
                expected="Avro schemas that are whole",
            )
        is_avro = found.get("schemaType", "AVRO") == "AVRO"
        return _parse(str(found.get("schema", ""))) if is_avro else None

    def _away(self, found: str) -> SourceError:
        return SourceError(
            "the schema registry is away",
            where=self._where,
            found=found,
            fix="start it or check `format.registry`; nothing was taken",
        )


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


def _parse(text: str) -> Any:
    """A schema that is a record, or None."""
    import fastavro
    from fastavro.schema import SchemaParseException, UnknownType

    try:
        schema = fastavro.parse_schema(json.loads(text))
    except (ValueError, KeyError, TypeError, SchemaParseException, UnknownType):
        return None
    return schema if isinstance(schema, dict) and schema.get("type") == "record" else None


def _load(schema_file: bytes, where: str) -> Any:
    schema = _parse(schema_file.decode(errors="replace"))
    if schema is None:
        raise ConfigError("not an Avro schema of a record", where=where)
    return schema


def _log_in(spec: SchemaRegistry | None, where: str) -> tuple[str, str] | None:
    from resources.kafka_security import secret

    if spec is None or spec.username_env is None:
        return None
    return secret(spec.username_env, where), secret(spec.password_env, where)
