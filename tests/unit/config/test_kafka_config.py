"""What a source of messages may say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mlops_assets.assets.versions import code_version
from mlops_assets.config.kafka import KafkaSource
from mlops_assets.config.loader import load_project
from mlops_assets.config.problems import ConfigProblems
from mlops_assets.config.sources import SourceSpec
from mlops_assets.config.spark_types import SparkType, is_table_type, parse_spark_type
from mlops_assets.errors import EnvironmentProblemError
from mlops_assets.sources.base import SourceContext
from resources.kafka import KafkaTopic

MINIMAL: dict[str, Any] = {
    "type": "kafka",
    "bootstrap_servers": "one:9092,two:9092",
    "topic": "orders",
    "columns": {"id": "bigint", "at": "timestamp"},
}
LOG_IN = {"mechanism": "PLAIN", "username_env": "KAFKA_USER", "password_env": "KAFKA_PASSWORD"}


def test_four_lines_are_enough() -> None:
    spec = TypeAdapter(SourceSpec).validate_python(MINIMAL)
    assert isinstance(spec, KafkaSource)
    assert spec.format.type == "json"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"columns": {}}, "messages carry no contract"),
        ({"columns": {"id": "number"}}, "decimal"),
        ({"columns": {"id": "binary"}}, "a type that JSON has"),
        ({"columns": {"id": "array<date>"}}, "a type that JSON has"),
        ({"columns": {"_offset": "bigint"}}, "_offset"),
        ({"key_column": "ID"}, "id"),
        ({"time_column": "id"}, "a timestamp or date"),
        ({"lateness": "1h"}, "time_column"),
        ({"on_late": "dead_letter"}, "lateness"),
        ({"bootstrap_servers": "user:pw@host:9092"}, "bootstrap_servers"),
        ({"topic": "a/b"}, "topic"),
        ({"bootstrap_servers": "a:9092,b:99999"}, "ports from 1 to 65535"),
        ({"timeout": "0s"}, "no time at all"),
        ({"format": {"type": "avro", "registry": {"url": "http://r:70000"}}}, "ports from 1 to"),
        ({"format": {"type": "avro"}}, "one of `registry` and `schema_file`"),
        ({"format": {"type": "protobuf"}}, "one of `registry` and `descriptor_file`"),
        ({"format": {"type": "protobuf", "descriptor_file": "a.desc"}}, "full name of the message"),
        (
            {
                "format": {
                    "type": "protobuf",
                    "registry": {"url": "http://r"},
                    "framing": "none",
                }
            },
            "without a schema id",
        ),
        (
            {"format": {"type": "avro", "registry": {"url": "http://r", "username_env": "USER_A"}}},
            "the name of a variable",
        ),
        ({"security": {"protocol": "SASL_SSL"}}, "the protocol logs in"),
        ({"security": {"protocol": "SSL", "key_file": "k.pem"}}, "certificate_file"),
        (
            {"security": {**LOG_IN, "protocol": "SASL_PLAINTEXT", "ca_file": "ca.pem"}},
            "does not encrypt",
        ),
        ({"format": {"type": "avro", "registry": {"url": "http://u:p@host"}}}, "url"),
        ({"format": {"type": "avro", "registry": {"url": "file:///etc/passwd"}}}, "url"),
    ],
)
def test_refusals(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        KafkaSource.model_validate({**MINIMAL, **options})


def test_types() -> None:
    assert parse_spark_type("LONG") == SparkType("bigint")
    assert parse_spark_type("decimal(10, 2)") == SparkType("decimal", 10, 2)
    nested = parse_spark_type("struct<A: array<decimal(3,1)>, b:int>")
    inner = SparkType("array", fields=(("element", SparkType("decimal", 3, 1)),))
    assert nested == SparkType("struct", fields=(("A", inner), ("b", SparkType("int"))))
    for bad in ("", "map<string,int>", "decimal(39,0)", "struct<>", "array<x>", "decimal(2,3)"):
        with pytest.raises(ValueError, match="not a"):
            parse_spark_type(bad)


def test_types_of_tables_are_those_that_spark_names() -> None:
    from pyspark.sql import types as spark

    inner = spark.StructType().add("my-field", spark.LongType()).add("b", spark.DecimalType(9, 2))
    kinds: list[spark.DataType] = [kind() for kind in _plain_types(spark)]
    kinds += [spark.ArrayType(inner), spark.MapType(spark.StringType(), inner), inner]
    kinds += [spark.DayTimeIntervalType(), spark.YearMonthIntervalType()]
    assert len(kinds) > 15
    assert [kind.simpleString() for kind in kinds if not is_table_type(kind.simpleString())] == []
    for written in ("LONG", "decimal", "numeric(9, 2)", "dec(9,2)", "array<map<string, real>>"):
        assert is_table_type(written)
    for written in ("", "int64", "map<string>", "array<int,int>", "struct<a>", "decimal(2,3)"):
        assert not is_table_type(written)


def _plain_types(spark: Any) -> list[Any]:
    names = "Boolean Byte Short Integer Long Float Double String Date Timestamp TimestampNTZ Binary"
    return [getattr(spark, f"{name}Type") for name in [*names.split(), "Null", "Variant"]]


def test_secrets_come_from_the_environment_and_stay_out_of_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("confluent_kafka")
    security = {
        "protocol": "SASL_PLAINTEXT",
        "mechanism": "PLAIN",
        "username_env": "TEST_KAFKA_USER",
        "password_env": "TEST_KAFKA_PASSWORD",
    }
    spec = KafkaSource.model_validate({**MINIMAL, "security": security})
    monkeypatch.setenv("TEST_KAFKA_USER", "someone")
    monkeypatch.delenv("TEST_KAFKA_PASSWORD", raising=False)
    with pytest.raises(EnvironmentProblemError, match="TEST_KAFKA_PASSWORD"):
        KafkaTopic("127.0.0.1:1", "t", where="here", security=spec.security)
    monkeypatch.setenv("TEST_KAFKA_PASSWORD", "hunter2-secret")
    topic = KafkaTopic(
        "127.0.0.1:1", "t", where="here", security=spec.security, timeout_seconds=0.5
    )
    with topic, pytest.raises(Exception, match="is away") as raised:
        topic.partitions()
    assert "hunter2" not in repr(raised.value)


DEFS = """\
type: mlops_assets.MLProject
attributes:
  description: Will this order come back?
  task: binary
  sources:
    orders:
      type: kafka
      bootstrap_servers: one:9092
      topic: orders
      columns: {id: bigint, at: timestamp}
      format: FORMAT
  features:
    query: features.sql
    entity: flight_id
    time: departure
    label: {column: is_late}
    inputs: {numeric: [distance], categorical: [carrier]}
"""


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("certs/none.pem", "'certs/none.pem', which does not exist"),
        ("../../ca.pem", "found: a path with .."),
    ],
)
def test_certificates_lie_in_the_project_or_at_an_absolute_path(
    write_project: Callable[..., Path], tmp_path: Path, file: str, said: str
) -> None:
    security = "{type: json}\n      security: {protocol: SSL, ca_file: FILE}"
    (tmp_path / "ca.pem").touch()
    for name, path in (("a/there", "/etc/ssl/only-in-a-container.pem"), ("a/own", "ca.pem")):
        text = DEFS.replace("FORMAT", security).replace("FILE", path)
        directory = write_project(name, defs=text)
        (directory / "ca.pem").touch()
        load_project(directory, tmp_path, {})
    directory = write_project(defs=DEFS.replace("FORMAT", security).replace("FILE", file))
    with pytest.raises(ConfigProblems) as caught:
        load_project(directory, tmp_path, {})
    assert said in str(caught.value)
    assert "sources.orders.security.ca_file" in str(caught.value)


@pytest.mark.parametrize(
    ("message_format", "file", "content"),
    [
        ("{type: avro, schema_file: order.avsc}", "order.avsc", b'{"type": "record"}'),
        ("{type: protobuf, descriptor_file: o.desc, message: Order}", "o.desc", b"\x0a\xff\x00"),
    ],
)
def test_a_run_reads_messages_by_the_schema_that_was_there_when_it_began(
    write_project: Callable[..., Path],
    tmp_path: Path,
    message_format: str,
    file: str,
    content: bytes,
) -> None:
    directory = write_project(defs=DEFS.replace("FORMAT", message_format))
    (directory / file).write_bytes(content)
    loaded = load_project(directory, tmp_path, {})
    version = code_version(loaded, "raw", "orders")
    (directory / file).write_bytes(b"edited")
    assert SourceContext.of(loaded, "orders", tmp_path).file(file) == content
    edited = load_project(directory, tmp_path, {})
    assert code_version(edited, "raw", "orders") != version
