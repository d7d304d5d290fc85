"""What becomes of a message's bytes: exact values, and strict refusal."""

from __future__ import annotations

import io
import json
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from schema_registry import running_registry

from mlops_assets.config.kafka import AvroFormat, ProtobufFormat, SchemaRegistry
from mlops_assets.errors import ConfigError, SourceError
from mlops_assets.sources.kafka_arrow import Decoded
from mlops_assets.sources.kafka_json import JsonDecoder

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = {
    "id": "bigint",
    "name": "string",
    "price": "decimal(10,2)",
    "day": "date",
    "at": "timestamp",
    "tags": "array<string>",
    "place": "struct<lat:double, Zip:string>",
}


def rows(decoded: Decoded) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = decoded.table.to_pylist()
    return found


def test_json_values() -> None:
    message = {
        "id": 2**60,
        "name": "a\nü",
        "price": "1.25",
        "day": "2026-03-01",
        "at": "2026-03-01T13:00:00+01:00",
        "tags": ["x", None],
        "place": {"lat": 1, "Zip": "1"},
        "extra": {"ignored": [1, {}]},
    }
    decoded = JsonDecoder(COLUMNS).decode([json.dumps(message, indent=2).encode(), b'{"id":1}'])
    first, second = rows(decoded)
    assert first == {
        **{key: message[key] for key in ("id", "name", "tags")},
        "price": Decimal("1.25"),
        "day": date(2026, 3, 1),
        "at": NOON,
        "place": {"lat": 1.0, "Zip": "1"},
    }
    assert second == {**dict.fromkeys(COLUMNS), "id": 1}


@pytest.mark.parametrize(
    ("column", "kind", "text"),
    [
        ("x", "int", "1.5"),
        ("x", "int", '"1"'),
        ("x", "int", "3000000000"),
        ("x", "tinyint", "128"),
        ("x", "string", "1"),
        ("x", "string", "true"),
        ("x", "boolean", "1"),
        ("x", "double", '"1"'),
        ("x", "date", '"2026-02-30"'),
        ("x", "date", "20000"),
        ("x", "timestamp", '"yesterday"'),
        ("x", "timestamp", "1700000000000"),
        ("x", "decimal(4,2)", "1.255"),
        ("x", "decimal(4,2)", "123.45"),
        ("x", "decimal(4,2)", "100"),
        ("x", "decimal(4,2)", '"1e2"'),
        ("x", "float", "1e300"),
        ("x", "float", "3.5e38"),
        ("x", "double", "1.8e308"),
        ("x", "array<float>", "[1, 1e300]"),
        ("x", "struct<a:array<float>>", '{"a":[1e300]}'),
        ("x", "array<int>", '["1"]'),
        ("x", "struct<a:int>", '{"a":"1"}'),
    ],
)
def test_json_is_held_to_the_declared_type(column: str, kind: str, text: str) -> None:
    good = b'{"y":1}'
    decoded = JsonDecoder({column: kind, "y": "int"}).decode(
        [good, f'{{"{column}":{text},"y":2}}'.encode(), good]
    )
    assert decoded.rejected == {1: f"{column} is not {kind}"}
    assert decoded.rows == [0, 2]


@pytest.mark.parametrize(
    "bad",
    [
        *(b"[1]", b"null", b"1", b"", b" ", b"{", b'{"id":1', b'{"id":1}}', b'{"id":1}{"id":2}'),
        *(b'{"id":NaN}', b'{"id":Infinity}', b'{"id":-Inf}', b'{"id":1,"z":[1, -NaN ]}'),
    ],
)
def test_what_is_not_one_object(bad: bytes) -> None:
    for kind in ("int", "double"):
        decoded = JsonDecoder({"id": kind}).decode([b'{"id":7}', bad, b'{"id":8}'])
        assert decoded.rejected == {1: "not one valid JSON object in UTF-8"}
        assert rows(decoded) == [{"id": 7}, {"id": 8}]


def test_text_that_looks_like_no_number_is_text() -> None:
    sent = [{"s": "a, Inf, NaN]", "t": ":NaN}"}] * 3
    decoded = JsonDecoder({"s": "string"}).decode([json.dumps(one).encode() for one in sent])
    assert decoded.rows == [0, 1, 2]


def test_all_messages_bad_and_none_at_all() -> None:
    decoder = JsonDecoder({"id": "int"})
    assert decoder.decode([b"x"] * 100).rows == []
    assert decoder.decode([]).table.num_rows == 0


SCHEMA = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": ["null", "string"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
EVENT_COLUMNS = {"id": "bigint", "name": "string", "at": "timestamp"}


def avro(record: dict[str, Any], schema: dict[str, Any] = SCHEMA) -> bytes:
    import fastavro

    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), record)
    return out.getvalue()


def avro_decoder(spec: AvroFormat, folder: Path, columns: dict[str, str]) -> Any:
    from mlops_assets.sources.kafka_avro import AvroParser
    from mlops_assets.sources.kafka_rows import RowDecoder

    return RowDecoder(columns, AvroParser(spec, lambda name: (folder / name).read_bytes(), "here"))


def test_avro_by_a_schema_file(tmp_path: Path) -> None:
    (tmp_path / "event.avsc").write_text(json.dumps(SCHEMA))
    spec = AvroFormat(type="avro", schema_file="event.avsc")
    records = [{"id": i, "name": None if i else "x", "at": NOON} for i in range(3)]
    sent = [avro(record) for record in records]
    decoder = avro_decoder(spec, tmp_path, EVENT_COLUMNS)
    decoded = decoder.decode([sent[0], b"\x01", sent[1], sent[2] + b"\x00"])
    assert rows(decoded) == records[:2]
    assert decoded.rows == [0, 2]
    assert set(decoded.rejected) == {1, 3}
    retyped = avro_decoder(spec, tmp_path, {**EVENT_COLUMNS, "id": "string"}).decode(sent)
    assert retyped.rejected == dict.fromkeys(range(3), "id is not string")


IDENTITY = "0AB2C3D4-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("written", "kind", "value", "expected"),
    [
        ({"type": "string", "logicalType": "uuid"}, "string", IDENTITY, IDENTITY),
        (
            {"type": "array", "items": {"type": "string", "logicalType": "uuid"}},
            *("array<string>", [IDENTITY], [IDENTITY]),
        ),
        ({"type": "string", "logicalType": "uuid"}, "string", "no uuid", "no uuid"),
        ({"type": "int", "logicalType": "date"}, "date", NOON.date(), NOON.date()),
        ({"type": "long", "logicalType": "timestamp-millis"}, "date", NOON, None),
        ({"type": "long", "logicalType": "timestamp-millis"}, "timestamp", NOON, NOON),
        ("double", "float", 1e300, None),
        ("double", "float", 3.4028235677973366e38, None),
        ("double", "float", 1.5, 1.5),
        ("double", "float", float("inf"), float("inf")),
        ("double", "double", 1e300, 1e300),
        ("boolean", "double", True, None),
        ({"type": "array", "items": "double"}, "array<float>", [1e300], None),
    ],
)
def test_avro_is_held_to_the_declared_type(
    tmp_path: Path, written: Any, kind: str, value: Any, expected: Any
) -> None:
    schema = {"type": "record", "name": "One", "fields": [{"name": "x", "type": written}]}
    (tmp_path / "one.avsc").write_text(json.dumps(schema))
    decoder = avro_decoder(AvroFormat(type="avro", schema_file="one.avsc"), tmp_path, {"x": kind})
    plain = json.loads(json.dumps(schema).replace(', "logicalType": "uuid"', ""))
    decoded = decoder.decode([avro({"x": value}, plain)])
    assert rows(decoded) == ([] if expected is None else [{"x": expected}])
    assert decoded.rejected == ({0: f"x is not {kind}"} if expected is None else {})


def test_an_avro_schema_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "event.avsc").write_text('{"type": "strin"}')
    with pytest.raises(ConfigError, match=r"event\.avsc"):
        avro_decoder(AvroFormat(type="avro", schema_file="event.avsc"), tmp_path, {"id": "int"})


def test_avro_by_a_registry_with_two_versions(tmp_path: Path) -> None:
    wider = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "n", "type": "int"}]}
    old = {"id": 1, "name": "a", "at": NOON}
    new = {**old, "id": 2, "n": 3}

    def framed(number: int, value: bytes) -> bytes:
        return struct.pack(">bI", 0, number) + value

    with running_registry() as registry:
        for schema in (SCHEMA, wider):
            registry.register("event-value", {"schema": json.dumps(schema)})
        spec = AvroFormat(type="avro", registry=SchemaRegistry(url=registry.url))
        decoder = avro_decoder(spec, tmp_path, {"id": "bigint", "n": "int"})
        sent = [framed(1, avro(old)), framed(2, avro(new, wider)), framed(9, b"x"), b"{}"]
        decoded = decoder.decode(sent)
        assert rows(decoded) == [{"id": 1, "n": None}, {"id": 2, "n": 3}]
        assert "schema id 9" in decoded.rejected[2]
        registry.status = 503
        with pytest.raises(SourceError, match="the schema registry is away"):
            decoder.decode([framed(500, b"x")])


def test_a_registry_that_is_away_kills_no_message(tmp_path: Path) -> None:
    spec = AvroFormat(type="avro", registry=SchemaRegistry(url="http://127.0.0.1:1"))
    with pytest.raises(SourceError, match="the schema registry is away"):
        avro_decoder(spec, tmp_path, {"id": "int"}).decode([b"\x00\x00\x00\x00\x01x"])


@pytest.fixture
def descriptor(tmp_path: Path) -> Path:
    """What protoc writes for a message with every kind of field."""
    from google.protobuf import descriptor_pb2, timestamp_pb2

    files = descriptor_pb2.FileDescriptorSet()
    files.file.add().ParseFromString(timestamp_pb2.DESCRIPTOR.serialized_pb)
    file = files.file.add(name="event.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    kind = file.enum_type.add(name="Kind")
    kind.value.add(name="UNKNOWN", number=0)
    kind.value.add(name="SALE", number=1)
    event = file.message_type.add(name="Event")
    types = descriptor_pb2.FieldDescriptorProto
    event.field.add(name="id", number=1, type=types.TYPE_INT64, label=1)
    event.field.add(name="name", number=2, type=types.TYPE_STRING, label=1)
    event.field.add(
        name="at",
        number=3,
        type=types.TYPE_MESSAGE,
        type_name=".google.protobuf.Timestamp",
        label=1,
    )
    event.field.add(name="kind", number=4, type=types.TYPE_ENUM, type_name=".shop.Kind", label=1)
    event.field.add(name="tags", number=5, type=types.TYPE_STRING, label=3)
    for other in (file.message_type.add(name="Refund"), event.nested_type.add(name="Line")):
        other.field.add(name="id", number=1, type=types.TYPE_INT64, label=1)
    (tmp_path / "event.desc").write_bytes(files.SerializeToString())
    return tmp_path


@pytest.mark.parametrize("framing", ["none", "confluent"])
def test_protobuf(descriptor: Path, framing: Any) -> None:
    from mlops_assets.sources.kafka_protobuf import ProtobufParser, _load
    from mlops_assets.sources.kafka_rows import RowDecoder

    spec = ProtobufFormat(
        type="protobuf", descriptor_file="event.desc", message="shop.Event", framing=framing
    )
    message = _load((descriptor / "event.desc").read_bytes(), "", "shop.Event")(
        id=7, name="x", kind=1, tags=["a"]
    )
    message.at.FromDatetime(NOON)
    frame = b"\x00\x00\x00\x00\x05" + b"\x00" if framing == "confluent" else b""
    columns = {**EVENT_COLUMNS, "kind": "string", "tags": "array<string>", "gone": "int"}
    decoder = RowDecoder(
        columns, ProtobufParser(spec, lambda name: (descriptor / name).read_bytes(), "here")
    )
    decoded = decoder.decode([frame + message.SerializeToString(), b"\xff\xff", frame])
    expected = {"id": 7, "name": "x", "at": NOON, "kind": "SALE", "tags": ["a"], "gone": None}
    empty = {"id": 0, "name": "", "at": None, "kind": "UNKNOWN", "tags": [], "gone": None}
    assert rows(decoded) == [expected, empty]
    assert list(decoded.rejected) == [1]


@pytest.mark.parametrize(
    ("wanted", "good"), [("shop.Event", 0), ("shop.Refund", 2), ("shop.Event.Line", 3)]
)
def test_another_kind_is_not_read_as_the_wanted_one(
    descriptor: Path, wanted: str, good: int
) -> None:
    from mlops_assets.sources.kafka_protobuf import ProtobufParser
    from mlops_assets.sources.kafka_rows import RowDecoder

    raw = {"type": "protobuf", "descriptor_file": "event.desc", "message": wanted}
    spec = ProtobufFormat.model_validate({**raw, "framing": "confluent"})
    parser = ProtobufParser(spec, lambda name: (descriptor / name).read_bytes(), "here")
    head, body = b"\x00\x00\x00\x00\x05", b"\x08\x07"  # id: 7, in all three
    places = [b"\x00", b"\x02\x00", b"\x02\x02", b"\x04\x00\x00", b"\x02\x04", b"\x04\x02\x00"]
    decoded = RowDecoder({"id": "bigint"}, parser).decode([head + at + body for at in places])
    expected = [0, 1] if good == 0 else [good]
    assert decoded.rows == expected
    assert rows(decoded) == [{"id": 7}] * len(expected)
    names = ["shop.Event", "shop.Event", "shop.Refund", "shop.Event.Line"]
    names += ["message that the file does not have"] * 2
    assert decoded.rejected == {
        i: f"a {name}, not a {wanted}" for i, name in enumerate(names) if i not in expected
    }


def test_a_descriptor_without_the_message(descriptor: Path) -> None:
    from mlops_assets.sources.kafka_protobuf import ProtobufParser

    spec = ProtobufFormat(type="protobuf", descriptor_file="event.desc", message="shop.Nothing")
    with pytest.raises(ConfigError, match=r"shop\.Nothing"):
        ProtobufParser(spec, lambda name: (descriptor / name).read_bytes(), "here")
