"""Protobuf messages as rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_assets.config.kafka import ProtobufFormat
from mlops_assets.errors import ConfigError
from mlops_assets.sources.kafka_framing import message_indexes
from mlops_assets.sources.kafka_protobuf_registry import RegisteredKinds, message_name
from mlops_assets.sources.kafka_rows import PoisonError, Row

if TYPE_CHECKING:
    from google.protobuf.message import Message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP = "google.protobuf.Timestamp"
_WRAPPERS = {
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
}
"""Messages that stand for one value, which they let be absent."""


class ProtobufParser:
    """Reads messages of one kind, by a descriptor file or by a schema registry.

    Args:
        spec: The format.
        read: Gives a file that the YAML names.
        where: For messages: whose topic it is.

    Raises:
        ConfigError: The file is no descriptor set, or does not hold the message.
        EnvironmentProblemError: A variable for the registry is not set.
    """

    def __init__(self, spec: ProtobufFormat, read: Callable[[str], bytes], where: str) -> None:
        self._kinds: Callable[[bytes], tuple[Any, int]]
        if spec.registry is not None:
            self._kinds = RegisteredKinds(spec.registry, spec.message, where)
        else:
            file = str(spec.descriptor_file)
            kind = _load(read(file), file, str(spec.message))
            self._kinds = FramedKind(kind) if spec.is_framed else lambda _: (kind, 0)

    def __call__(self, value: bytes) -> Row:
        """A message's fields by name; a singular field without presence has its default.

        Raises:
            PoisonError: It is not one.
            SourceError: The registry is away.
        """
        from google.protobuf.message import DecodeError

        kind, start = self._kinds(value)
        message = kind()
        try:
            message.ParseFromString(value[start:])
            return _fields(message)
        except (DecodeError, OverflowError):
            raise PoisonError(f"not a {kind.DESCRIPTOR.full_name}") from None


class FramedKind:
    """The one kind of messages that is wanted of a topic in Confluent's framing.

    A message says its place in the file that it was written with; a descriptor file is taken for
    that file, so that another kind is not read as if it were this one.

    Args:
        kind: The wanted message's class.
    """

    def __init__(self, kind: Any) -> None:
        from google.protobuf import descriptor_pb2

        self._kind = kind
        self._file = descriptor_pb2.FileDescriptorProto()
        kind.DESCRIPTOR.file.CopyToProto(self._file)

    def __call__(self, value: bytes) -> tuple[Any, int]:
        """The class, and where the message's bytes begin.

        Raises:
            PoisonError: It is not framed, or of another kind.
        """
        indexes, start = message_indexes(value)
        found, wanted = message_name(self._file, indexes), self._kind.DESCRIPTOR.full_name
        if found != wanted:
            raise PoisonError(f"a {found or 'message that the file does not have'}, not a {wanted}")
        return self._kind, start


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
    """A field's value: times, wrapped values and messages as such, enumerations by name."""
    if field.message_type is not None:
        if field.message_type.full_name == _TIMESTAMP:
            return _EPOCH + timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)
        if field.message_type.full_name in _WRAPPERS:
            return value.value
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
