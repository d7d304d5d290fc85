"""Messages that were made to harm the reader, by schemas that let them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from schema_registry import RegistryServer, running_registry

from mlops_assets.config.kafka import AvroFormat
from mlops_assets.errors import ConfigError
from mlops_assets.sources.kafka_avro import AvroParser
from mlops_assets.sources.kafka_avro_schema import AvroSchemaError, parse_avro
from mlops_assets.sources.kafka_rows import RowDecoder

DECODE = """
import sys
from mlops_assets.config.kafka import AvroFormat
from mlops_assets.errors import ConfigError
from mlops_assets.sources.kafka_avro import AvroParser
from mlops_assets.sources.kafka_rows import PoisonError
message = eval(sys.argv[2])
try:
    parser = AvroParser(
        AvroFormat(type="avro", schema_file="x.avsc"), lambda _: sys.argv[1].encode(), "here"
    )
    print(parser(message))
except (ConfigError, PoisonError) as error:
    print(type(error).__name__, error)
"""


def record(fields: dict[str, Any], name: str = "Node") -> dict[str, Any]:
    named = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": name, "fields": named}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def decode(schema: Any, message: str) -> str:
    """What a process of its own says."""
    command = [sys.executable, "-c", DECODE, json.dumps(schema), message]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"the process ended with {done.returncode}"
    return done.stdout


MANY = "bytes([0x80, 0x84, 0xaf, 0x5f, 0])"  # a hundred million items, and then the end


@pytest.mark.parametrize(
    ("schema", "message", "said"),
    [
        (record({"next": ["null", "Node"]}), r"b'\x02' * 900_000 + b'\x00'", "contains itself"),
        (record({"a": array("null")}), MANY, "items that take no bytes"),
        (record({"a": array("long")}), MANY, "not one Avro record"),
        (record({"a": {"type": "map", "values": "null"}}), MANY, "not one Avro record"),
    ],
)
def test_a_message_harms_no_process(schema: Any, message: str, said: str) -> None:
    assert said in decode(schema, message)


UNSAFE = [
    (record({"inner": record({"up": array("Node")}, "Inner")}), "contains itself: Node"),
    (record({"m": {"type": "map", "values": ["null", "Node"]}}), "contains itself"),
    (["null", record({"next": ["null", "Node"]})], "contains itself"),
    (record({"a": array(record({}, "Empty"))}), "no bytes"),
    (record({"a": array(record({"n": "null", "e": record({}, "E")}, "Two"))}), "no bytes"),
    (record({"e": record({}, "E"), "a": array("E")}), "no bytes"),
    (record({"a": array({"type": "fixed", "name": "F", "size": 0})}), "no bytes"),
    (record({"x": json.loads('{"type":"array","items":' * 150 + '"int"' + "}" * 150)}), "levels"),
    ({"type": "strin"}, "not an Avro schema"),
]


@pytest.mark.parametrize(("schema", "reason"), UNSAFE)
def test_unsafe_schemas(schema: Any, reason: str) -> None:
    with pytest.raises(AvroSchemaError, match=reason):
        parse_avro(json.dumps(schema), {})


@pytest.mark.parametrize("text", ['{"type":' * 100_000, '{"type":' * 2000 + '"int"' + "}" * 2000])
def test_a_schema_that_is_too_deep_for_the_parser(text: str) -> None:
    with pytest.raises(AvroSchemaError, match="not an Avro schema"):
        parse_avro(text, {})


def test_depth_is_that_of_the_longest_way_and_not_of_the_first() -> None:
    """Each record is met first where it is not deep, and again at the end of a chain."""
    fields: dict[str, Any] = {"f0": ["null", record({"x": "int"}, "R0")]}
    for number in range(1, 40):
        inner = record({"x": f"R{number - 1}"}, f"R{number}")
        fields[f"f{number}"] = ["null", inner]
    parse_avro(json.dumps(record(fields)), {})
    for number in range(40, 120):
        fields[f"f{number}"] = ["null", record({"x": f"R{number - 1}"}, f"R{number}")]
    with pytest.raises(AvroSchemaError, match="more than 100 levels"):
        parse_avro(json.dumps(record(fields)), {})


def test_a_type_may_be_used_many_times() -> None:
    """Each level names the one below twice; a walk along all ways would not end."""
    fields: dict[str, Any] = {"n": "int"}
    for level in range(40):
        inner = record(fields, f"L{level}")
        fields = {"a": inner, "b": ["null", f"L{level}"], "c": array(f"L{level}")}
    kinds = {"e": {"type": "enum", "name": "E", "symbols": ["A"]}, "empty": record({}, "Empty")}
    assert parse_avro(json.dumps(record({**fields, **kinds})), {})["type"] == "record"


def test_a_schema_file_is_refused_by_its_name() -> None:
    schema = json.dumps(record({"next": ["null", "Node"]})).encode()
    with pytest.raises(ConfigError, match=r"(?s)tree\.avsc.*contains itself: Node"):
        AvroParser(AvroFormat(type="avro", schema_file="tree.avsc"), lambda _: schema, "here")


@pytest.fixture
def registry() -> Any:
    with running_registry() as server:
        yield server


def test_a_message_of_a_registry_stops_no_other(registry: RegistryServer) -> None:
    """Anybody may name any schema of the registry."""
    registry.register("tree", {"schema": json.dumps(record({"next": ["null", "Node"]}))})
    registry.register("good", {"schema": json.dumps(record({"id": "long"}, "Good"))})
    form = AvroFormat.model_validate({"type": "avro", "registry": {"url": registry.url}})
    decoder = RowDecoder({"id": "bigint"}, AvroParser(form, Path.read_bytes, "here"))  # type: ignore[arg-type]
    bad, good = b"\x00\x00\x00\x00\x01\x02\x00", b"\x00\x00\x00\x00\x02\x02"
    decoded = decoder.decode([bad, good, bad])
    assert decoded.table.to_pylist() == [{"id": 1}]
    reason = "schema id 1 of the registry: an Avro schema that contains itself: Node"
    assert decoded.rejected == {0: reason, 2: reason}
    assert len(registry.asked) == 2
