"""Protobuf messages, by a descriptor file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_assets.config.kafka import ProtobufFormat
from mlops_assets.errors import ConfigError
from mlops_assets.sources.kafka_rows import PoisonError, Row

if TYPE_CHECKING:
    from google.protobuf.message import Message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP = "google.protobuf.Timestamp"


class ProtobufParser:
    """Reads a message of one kind.

    Args:
        spec: The format.
        read: Gives a file that the YAML names.

    Raises:
        ConfigError: The file is no descriptor set, or does not hold the message.
    """

    def __init__(self, spec: ProtobufFormat, read: Callable[[str], bytes]) -> None:
        self._kind = _load(read(spec.descriptor_file), spec.descriptor_file, spec.message)
        self._is_framed = spec.framing == "confluent"

    def __call__(self, value: bytes) -> Row:
        """A message's fields by name; a singular field without presence has its default.

        Raises:
            PoisonError: It is not one.
        """
        from google.protobuf.message import DecodeError

        start = _payload_start(value) if self._is_framed else 0
        message = self._kind()
        try:
            message.ParseFromString(value[start:])
            return _fields(message)
        except (DecodeError, OverflowError):
            raise PoisonError(f"not a {self._kind.DESCRIPTOR.full_name}") from None


def _payload_start(value: bytes) -> int:
    """Where the message begins after magic byte, schema id and message indexes.

    Only the file's first message is written with the index list ``0``; others give their number
    and each index as zigzag varints.
    """
    if len(value) < 6 or value[0] != 0:
        raise PoisonError("not Protobuf in Confluent's framing")
    count, at = _varint(value, 5)
    for _ in range(count):
        _, at = _varint(value, at)
    return at


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """A zigzag number and the position after it."""
    number = shift = 0
    while at < len(value) and shift < 35:
        byte = value[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
    raise PoisonError("not Protobuf in Confluent's framing")


def _fields(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue  # no declared type is a map
        if field.is_repeated:
            fields[field.name] = [_value(field, item) for item in value]
        elif not field.has_presence or message.HasField(field.name):
            fields[field.name] = _value(field, value)
    return fields


def _value(field: Any, value: Any) -> Any:
    """A field's value: times and nested messages as such, enumerations by name."""
    if field.message_type is not None:
        if field.message_type.full_name == _TIMESTAMP:
            return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
        return _fields(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else str(value)
    return value


def _load(descriptors: bytes, file: str, name: str) -> Any:
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )
    from google.protobuf.message import DecodeError

    pool = descriptor_pool.DescriptorPool()
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(descriptors)
        for described in files.file:
            pool.Add(described)
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    except (DecodeError, TypeError, KeyError):
        raise ConfigError(
            "not a descriptor set with the message and everything that it imports",
            where=file,
            expected=name,
            fix="protoc --include_imports --descriptor_set_out=event.desc event.proto",
        ) from None
