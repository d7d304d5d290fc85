"""Kinds of Protobuf messages by the schemas of a registry."""

from __future__ import annotations

import base64
import binascii
import importlib
import re
from typing import TYPE_CHECKING, Any

from mlops_assets.config.kafka import SchemaRegistry
from mlops_assets.errors import SourceError
from mlops_assets.sources.kafka_framing import message_indexes, schema_number
from mlops_assets.sources.kafka_rows import PoisonError

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

    from resources.schema_registry import RegisteredSchema

_GOOGLE = re.compile(r"(google/(?:protobuf|type)/[a-z_]+)\.proto")
_CONFLUENT = re.compile(r"(confluent/(?:types?/)?[a-z_]+)\.proto")
_CONFLUENT_PACKAGE = "confluent_kafka.schema_registry"


class RegisteredKinds:
    """Which kind each framed message is.

    Args:
        spec: The registry.
        message: Full name of the messages that are wanted; None for any.
        where: For messages: whose topic it is.

    Raises:
        EnvironmentProblemError: A variable for the registry is not set.
    """

    def __init__(self, spec: SchemaRegistry, message: str | None, where: str) -> None:
        from resources.schema_registry import Registry

        self._registry = Registry(spec, where, is_serialized=True)
        self._message = message
        self._where = where
        self._files: dict[int, tuple[DescriptorPool, FileDescriptorProto] | None] = {}
        self._kinds: dict[tuple[int, tuple[int, ...]], Any] = {}

    def __call__(self, value: bytes) -> tuple[Any, int]:
        """A message's class, and where its bytes begin.

        Raises:
            PoisonError: It is not framed, is of another kind, or has a schema that is no Protobuf.
            SourceError: The registry is away, or gives no descriptors.
        """
        number = schema_number(value, "Protobuf")
        indexes, start = message_indexes(value)
        key = (number, indexes)
        if key not in self._kinds:
            self._kinds[key] = self._kind(number, indexes)
        kind = self._kinds[key]
        if self._message is not None and kind.DESCRIPTOR.full_name != self._message:
            raise PoisonError(f"a {kind.DESCRIPTOR.full_name}, not a {self._message}")
        return kind, start

    def _kind(self, number: int, indexes: tuple[int, ...]) -> Any:
        from google.protobuf import message_factory

        if number not in self._files:
            self._files[number] = self._fetch(number)
        found = self._files[number]
        if found is None:
            raise PoisonError(f"the registry has no usable Protobuf file with schema id {number}")
        pool, file = found
        name = message_name(file, indexes)
        if name is None:
            raise PoisonError(f"the file with schema id {number} has no such message")
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))

    def _fetch(self, number: int) -> tuple[DescriptorPool, FileDescriptorProto] | None:
        """A file in a pool with all that it imports; None when there is no such Protobuf file."""
        from google.protobuf import descriptor_pool

        schema = self._registry.schema(number)
        if schema is None or schema.type != "PROTOBUF":
            return None
        pool = descriptor_pool.DescriptorPool()
        file = self._described(schema, f"schema-{number}.proto")
        try:
            for name, inner in self._registry.referenced(schema):
                _add(pool, self._described(inner, name))
            _add(pool, file)
        except (TypeError, KeyError):
            return None
        return pool, file

    def _described(self, schema: RegisteredSchema, name: str) -> FileDescriptorProto:
        """A schema as a descriptor under the name that others import it by."""
        from google.protobuf import descriptor_pb2
        from google.protobuf.message import DecodeError

        try:
            serialized = base64.b64decode(schema.text, validate=True)
            file = descriptor_pb2.FileDescriptorProto.FromString(serialized)
        except (binascii.Error, DecodeError, ValueError):
            raise SourceError(
                "the schema registry gives no descriptors of Protobuf schemas",
                where=self._where,
                found=f"{schema.text[:40]!r} for `?format=serialized`",
                expected="a file descriptor in base64",
                fix="give the messages' descriptors by `descriptor_file` and `framing: confluent`",
            ) from None
        file.name = name
        return file


def _add(pool: DescriptorPool, file: FileDescriptorProto) -> None:
    """Add a file, and before it what it imports from Google's and Confluent's own files."""
    for name in file.dependency:
        try:
            pool.FindFileByName(name)
        except KeyError:
            known = _known(name)
            if known is not None:
                _add(pool, known)
    pool.Add(file)


def _known(name: str) -> FileDescriptorProto | None:
    """A file that registries know without being told."""
    from google.protobuf import descriptor_pb2

    if found := _GOOGLE.fullmatch(name):
        module = found[1].replace("/", ".") + "_pb2"
    elif found := _CONFLUENT.fullmatch(name):
        module = f"{_CONFLUENT_PACKAGE}.{found[1].replace('/', '.')}_pb2"
    else:
        return None
    try:
        known = importlib.import_module(module).DESCRIPTOR
    except ImportError:
        return None
    file = descriptor_pb2.FileDescriptorProto()
    known.CopyToProto(file)
    file.name = name
    return file


def message_name(file: FileDescriptorProto, indexes: tuple[int, ...]) -> str | None:
    """Full name of a message by its place; None when there is none."""
    names = [file.package] if file.package else []
    kinds: Any = file.message_type
    for index in indexes:
        if not 0 <= index < len(kinds):
            return None
        names.append(kinds[index].name)
        kinds = kinds[index].nested_type
    return ".".join(names)
