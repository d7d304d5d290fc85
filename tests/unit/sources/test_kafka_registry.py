"""Messages as Confluent's own serializers write them, read by the schemas that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from schema_registry import RegistryServer, running_registry

from mlops_assets.config.kafka import AvroFormat, JsonFormat, KafkaSource, ProtobufFormat
from mlops_assets.errors import EnvironmentProblemError, SourceError
from mlops_assets.keys import ProjectId
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.kafka_arrow import Decoded, Decoder
from mlops_assets.sources.kafka_write import decoder_for

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = {"id": "bigint", "at": "timestamp", "place": "struct<lat:double>"}


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with running_registry() as server:
        yield server


def decoder(
    form: AvroFormat | JsonFormat | ProtobufFormat, columns: dict[str, str], tmp_path: Any
) -> Decoder:
    spec = KafkaSource(
        type="kafka", bootstrap_servers="one:1", topic="events", columns=columns, format=form
    )
    return decoder_for(spec, SourceContext(ProjectId("shop", "churn"), tmp_path, tmp_path))


def rows(decoded: Decoded) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = decoded.table.to_pylist()
    return found


def written(serializer: Any, values: list[Any]) -> list[bytes]:
    from confluent_kafka.serialization import MessageField, SerializationContext

    context = SerializationContext("events", MessageField.VALUE)
    return [serializer(value, context) for value in values]


def client(registry: RegistryServer) -> Any:
    from confluent_kafka.schema_registry import SchemaRegistryClient

    return SchemaRegistryClient({"url": registry.url})


PLACE = {"type": "record", "name": "shop.Place", "fields": [{"name": "lat", "type": "double"}]}
EVENT = {
    "type": "record",
    "name": "shop.Event",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "place", "type": ["null", "shop.Place"], "default": None},
    ],
}


def avro_messages(registry: RegistryServer, events: list[dict[str, Any]]) -> list[bytes]:
    from confluent_kafka.schema_registry import Schema, SchemaReference
    from confluent_kafka.schema_registry.avro import AvroSerializer

    asked = client(registry)
    asked.register_schema("place", Schema(json.dumps(PLACE), "AVRO"))
    schema = Schema(json.dumps(EVENT), "AVRO", [SchemaReference("shop.Place", "place", 1)])
    return written(AvroSerializer(asked, schema), events)


def test_avro_schemas_that_refer_to_others(registry: RegistryServer, tmp_path: Any) -> None:
    events = [{"id": 1, "at": NOON, "place": {"lat": 1.5}}, {"id": 2, "at": NOON, "place": None}]
    sent = avro_messages(registry, events)
    registry.asked.clear()
    form = AvroFormat.model_validate({"type": "avro", "registry": {"url": registry.url}})
    decoded = decoder(form, COLUMNS, tmp_path).decode(sent * 3)
    assert rows(decoded) == events * 3
    assert registry.asked == ["/schemas/ids/2", "/subjects/place/versions/1"]


def test_avro_topics_of_several_kinds(registry: RegistryServer, tmp_path: Any) -> None:
    """A union of records at the top: what a topic with several kinds of events has."""
    avro_messages(registry, [{"id": 1, "at": NOON, "place": None}])
    references = [
        {"name": "shop.Place", "subject": "place", "version": 1},
        {"name": "shop.Event", "subject": "events-value", "version": 1},
    ]
    union = {"schema": json.dumps(["shop.Place", "shop.Event"]), "references": references}
    number = registry.register("all-value", union)
    place = bytes([0, *number.to_bytes(4, "big"), 0]) + b"\x00\x00\x00\x00\x00\x00\xf8\x3f"
    form = AvroFormat.model_validate({"type": "avro", "registry": {"url": registry.url}})
    decoded = decoder(form, {"lat": "double", "id": "bigint"}, tmp_path).decode([place])
    assert rows(decoded) == [{"lat": 1.5, "id": None}]


def test_a_reference_that_is_not_there_is_named(registry: RegistryServer, tmp_path: Any) -> None:
    references = [{"name": "shop.Place", "subject": "gone", "version": 3}]
    registry.register("e-value", {"schema": json.dumps(EVENT), "references": references})
    form = AvroFormat.model_validate({"type": "avro", "registry": {"url": registry.url}})
    with pytest.raises(SourceError, match="version 3 of subject gone"):
        decoder(form, COLUMNS, tmp_path).decode([b"\x00\x00\x00\x00\x01x"])


def test_schemas_that_refer_to_each_other_end(registry: RegistryServer, tmp_path: Any) -> None:
    for name, other in (("A", "B"), ("B", "A")):
        fields = [{"name": "next", "type": other}]
        schema = {"type": "record", "name": name, "fields": fields}
        references = [{"name": other, "subject": other, "version": 1}]
        registry.register(name, {"schema": json.dumps(schema), "references": references})
    form = AvroFormat.model_validate({"type": "avro", "registry": {"url": registry.url}})
    decoded = decoder(form, COLUMNS, tmp_path).decode([b"\x00\x00\x00\x00\x01x"])
    assert list(decoded.rejected) == [0]


def kinds() -> dict[str, Any]:
    """Message classes of a file that imports another one, Google's, and nests a message."""
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
        timestamp_pb2,
        wrappers_pb2,
    )

    types = descriptor_pb2.FieldDescriptorProto
    place = descriptor_pb2.FileDescriptorProto(name="place.proto", package="geo", syntax="proto3")
    message = place.message_type.add(name="Place")
    message.field.add(name="lat", number=1, type=types.TYPE_DOUBLE, label=1)
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="shop", syntax="proto3")
    file.dependency.extend(
        ["place.proto", "google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"]
    )
    file.message_type.add(name="Other").field.add(
        name="id", number=1, type=types.TYPE_INT64, label=1
    )
    event = file.message_type.add(name="Event")
    event.nested_type.add(name="Line").field.add(
        name="id", number=1, type=types.TYPE_INT64, label=1
    )
    event.field.add(name="id", number=1, type=types.TYPE_INT64, label=1)
    for number, (name, kind) in enumerate(
        {
            "at": ".google.protobuf.Timestamp",
            "place": ".geo.Place",
            "price": ".google.protobuf.DoubleValue",
        }.items(),
        2,
    ):
        event.field.add(name=name, number=number, type=types.TYPE_MESSAGE, type_name=kind, label=1)
    pool = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.Add(place)
    pool.Add(file)
    names = ("shop.Event", "shop.Other", "shop.Event.Line")
    found = {name: pool.FindMessageTypeByName(name) for name in names}
    return {name: message_factory.GetMessageClass(kind) for name, kind in found.items()}


def protobuf_messages(registry: RegistryServer) -> list[bytes]:
    from confluent_kafka.schema_registry.protobuf import ProtobufSerializer

    made = kinds()
    event = made["shop.Event"](id=7)
    event.at.FromDatetime(NOON)
    event.place.lat = 1.5
    event.price.value = 2.5
    values = [event, made["shop.Event"](id=8), made["shop.Other"](id=9), made["shop.Event.Line"]()]
    asked = client(registry)
    return [
        written(ProtobufSerializer(type(v), asked, {"use.deprecated.format": False}), [v])[0]
        for v in values
    ]


def protobuf_format(registry: RegistryServer, message: str | None = None) -> ProtobufFormat:
    raw = {"type": "protobuf", "registry": {"url": registry.url}, "message": message}
    return ProtobufFormat.model_validate(raw)


def test_protobuf_by_a_registry(registry: RegistryServer, tmp_path: Any) -> None:
    sent = protobuf_messages(registry)
    registry.asked.clear()
    columns = {**COLUMNS, "price": "double"}
    read = decoder(protobuf_format(registry, "shop.Event"), columns, tmp_path)
    decoded = read.decode([*sent, b"\x00", b"{}", sent[0][:-1], *sent])
    full = {"id": 7, "at": NOON, "place": {"lat": 1.5}, "price": 2.5}
    bare = {"id": 8, "at": None, "place": None, "price": None}
    assert rows(decoded) == [full, bare, full, bare]
    assert decoded.rejected[2] == "a shop.Other, not a shop.Event"
    assert decoded.rejected[3] == "a shop.Event.Line, not a shop.Event"
    assert sorted(decoded.rejected) == [2, 3, 4, 5, 6, 9, 10]
    assert len(registry.asked) == len(set(registry.asked)) == 2  # the file, and what it imports


def test_without_a_name_each_message_says_what_it_is(
    registry: RegistryServer, tmp_path: Any
) -> None:
    sent = protobuf_messages(registry)
    decoded = decoder(protobuf_format(registry), {"id": "bigint"}, tmp_path).decode(sent)
    assert rows(decoded) == [{"id": 7}, {"id": 8}, {"id": 9}, {"id": 0}]


def test_a_place_that_the_file_does_not_have(registry: RegistryServer, tmp_path: Any) -> None:
    message = protobuf_messages(registry)[0]
    read = decoder(protobuf_format(registry), {"id": "bigint"}, tmp_path)
    head = message[:5]
    wrong = [head + b"\x02\x0c", head + b"\x02\x01", head + b"\x04\x02\x0a", head + b"\x01\x00"]
    assert sorted(read.decode(wrong).rejected) == [0, 1, 2, 3]


def test_a_registry_without_descriptors_is_told_apart(
    registry: RegistryServer, tmp_path: Any
) -> None:
    sent = protobuf_messages(registry)
    registry.knows_descriptors = False
    with pytest.raises(SourceError, match="descriptor_file"):
        decoder(protobuf_format(registry), {"id": "bigint"}, tmp_path).decode(sent)


def test_schemas_of_another_kind_are_dead_letters(registry: RegistryServer, tmp_path: Any) -> None:
    sent = avro_messages(registry, [{"id": 1, "at": NOON, "place": None}])
    protobuf = protobuf_messages(registry)
    read = decoder(protobuf_format(registry), {"id": "bigint"}, tmp_path)
    assert read.decode([sent[0], protobuf[0]]).rows == [1]
    form = AvroFormat.model_validate({"type": "avro", "registry": {"url": registry.url}})
    assert decoder(form, {"id": "bigint"}, tmp_path).decode([sent[0], protobuf[0]]).rows == [0]


@pytest.mark.parametrize(
    ("status", "problem"), [(503, "is away"), (401, "refuses the log-in"), (403, "refuses the log")]
)
def test_a_registry_in_trouble_kills_no_message(
    registry: RegistryServer, tmp_path: Any, status: int, problem: str
) -> None:
    sent = protobuf_messages(registry)
    registry.status = status
    with pytest.raises(SourceError, match=problem):
        decoder(protobuf_format(registry), {"id": "bigint"}, tmp_path).decode(sent)


def test_the_log_in_is_sent_and_never_shown(
    registry: RegistryServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in = {"username_env": "TEST_REGISTRY_USER", "password_env": "TEST_REGISTRY_PASSWORD"}
    raw = {"type": "avro", "registry": {"url": registry.url, **log_in}}
    form = AvroFormat.model_validate(raw)
    monkeypatch.setenv("TEST_REGISTRY_USER", "someone")
    monkeypatch.delenv("TEST_REGISTRY_PASSWORD", raising=False)
    with pytest.raises(EnvironmentProblemError, match="TEST_REGISTRY_PASSWORD"):
        decoder(form, COLUMNS, tmp_path)
    monkeypatch.setenv("TEST_REGISTRY_PASSWORD", "hunter2-secret")
    registry.status = 401
    with pytest.raises(SourceError) as raised:
        decoder(form, COLUMNS, tmp_path).decode([b"\x00\x00\x00\x00\x01x"])
    assert "hunter2" not in str(raised.value) + repr(raised.value)


def test_json_by_confluents_serializer(registry: RegistryServer, tmp_path: Any) -> None:
    from confluent_kafka.schema_registry.json_schema import JSONSerializer

    schema = json.dumps(
        {"title": "Event", "type": "object", "properties": {"id": {"type": "integer"}}}
    )
    sent = written(JSONSerializer(schema, client(registry)), [{"id": 1}, {"id": 2}])
    framed = JsonFormat(type="json", framing="confluent")
    decoded = decoder(framed, {"id": "bigint"}, tmp_path).decode([*sent, b'{"id":3}', b"\x00"])
    assert rows(decoded) == [{"id": 1}, {"id": 2}]
    assert decoded.rejected == dict.fromkeys((2, 3), "not JSON in Confluent's framing")
    plain = decoder(JsonFormat(type="json"), {"id": "bigint"}, tmp_path).decode(sent)
    assert plain.rows == []
