"""``type: kafka``: messages of a topic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mlops_assets.config.base import (
    URL_PATTERN,
    ColumnName,
    Duration,
    ExistingPorts,
    Spec,
    Timeout,
    VariableName,
)
from mlops_assets.config.features import RelativeFile
from mlops_assets.config.partitions import OffsetPartitions
from mlops_assets.config.problems import FieldProblem, FieldProblems, Location, show
from mlops_assets.config.source_base import Intake, SourceBase
from mlops_assets.config.spark_types import PLAIN, SparkType, parse_spark_type

PARTITION, OFFSET, TIMESTAMP = "_partition", "_offset", "_timestamp"
ENGINE_COLUMNS = (PARTITION, OFFSET, TIMESTAMP)
"""Columns that every row gets: where its message lies, and the broker's time."""

_EVENT_TIMES = {"timestamp", "timestamp_ntz", "date"}

Brokers = Annotated[str, Field(pattern=r"^[^\s,/@]+:\d{1,5}(,[^\s,/@]+:\d{1,5})*$"), ExistingPorts]


class KafkaSecurity(Spec):
    """How the broker is reached; secrets stand in the environment only."""

    protocol: Literal["SSL", "SASL_SSL", "SASL_PLAINTEXT"]
    """Encryption and log-in."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """How to log in; needed where the protocol begins with SASL."""
    username_env: VariableName | None = None
    """Name of the environment variable with the user name."""
    password_env: VariableName | None = None
    """Name of the environment variable with the password."""
    ca_file: str | None = None
    """Certificates that the broker's is checked against; empty: those of the system. A relative
    path starts at the project's folder."""
    certificate_file: str | None = None
    """The client's own certificate (PEM), where the broker asks for one."""
    key_file: str | None = None
    """The certificate's private key (PEM)."""
    key_password_env: VariableName | None = None
    """Name of the environment variable with the key's password, where it has one."""

    @model_validator(mode="after")
    def _certificate_is_complete(self) -> KafkaSecurity:
        own = ("certificate_file", "key_file")
        if self.protocol == "SASL_PLAINTEXT":
            wrong = [name for name in (*own, "key_password_env", "ca_file") if getattr(self, name)]
            expected = "nothing, as the protocol does not encrypt"
        else:
            given = bool(self.certificate_file or self.key_file or self.key_password_env)
            wrong = [name for name in own if given and not getattr(self, name)]
            expected = "a file, as the others of the client's certificate are given"
        if wrong:
            raise FieldProblems(
                [FieldProblem((name,), show(getattr(self, name)), expected) for name in wrong]
            )
        return self

    @model_validator(mode="after")
    def _log_in_is_complete(self) -> KafkaSecurity:
        wanted = ("mechanism", "username_env", "password_env")
        is_sasl = self.protocol.startswith("SASL")
        problems = [
            FieldProblem((name,), show(getattr(self, name)), expected)
            for name in wanted
            if (getattr(self, name) is not None) != is_sasl
            for expected in ["a value, as the protocol logs in" if is_sasl else "nothing, with SSL"]
        ]
        if problems:
            raise FieldProblems(problems)
        return self


class SchemaRegistry(Spec):
    """A Confluent-compatible schema registry."""

    url: Annotated[str, Field(pattern=URL_PATTERN), ExistingPorts]
    """Its address, without user and password."""
    username_env: VariableName | None = None
    """Name of the environment variable with the user name."""
    password_env: VariableName | None = None
    """Name of the environment variable with the password."""

    @model_validator(mode="after")
    def _log_in_is_complete(self) -> SchemaRegistry:
        if (self.username_env is None) != (self.password_env is None):
            name = "password_env" if self.password_env is None else "username_env"
            expected = "the name of a variable, as the other one is given"
            raise FieldProblems([FieldProblem((name,), "nothing", expected)])
        return self


class JsonFormat(Spec):
    """One JSON object a message."""

    type: Literal["json"]
    """``json``"""
    framing: Literal["none", "confluent"] = "none"
    """``confluent``: the messages begin with a schema id, as Confluent's serializer writes them."""


class AvroFormat(Spec):
    """Avro: with a registry in Confluent's framing, with a schema file bare."""

    type: Literal["avro"]
    """``avro``"""
    registry: SchemaRegistry | None = None
    """Where the schemas are that the messages name."""
    schema_file: RelativeFile | None = None
    """Schema (``.avsc``) of all messages, in the project's folder; instead of a registry."""

    @model_validator(mode="after")
    def _one_of_both(self) -> AvroFormat:
        if problems := _one_way(self.registry, self.schema_file, "schema_file"):
            raise FieldProblems(problems)
        return self


class ProtobufFormat(Spec):
    """Protobuf: with a registry in Confluent's framing, or by a descriptor file."""

    type: Literal["protobuf"]
    """``protobuf``"""
    registry: SchemaRegistry | None = None
    """Where the schemas are that the messages name."""
    descriptor_file: RelativeFile | None = None
    """Descriptor set (``.desc``) in the project's folder, instead of a registry:
    ``protoc --include_imports --descriptor_set_out``."""
    message: str | None = Field(
        default=None, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", max_length=200
    )
    """Full name of the message, such as ``shop.Order``; others become dead letters. May be left out
    with a registry, where each message says which it is."""
    framing: Literal["none", "confluent"] | None = None
    """``confluent``: the messages begin with a schema id, as Confluent's serializer writes them.
    With a descriptor file ``none`` is the default; with a registry it cannot be."""

    @model_validator(mode="after")
    def _one_of_both(self) -> ProtobufFormat:
        problems = _one_way(self.registry, self.descriptor_file, "descriptor_file")
        if self.registry is not None and self.framing == "none":
            expected = "`confluent`, or nothing: without a schema id no registry can be asked"
            problems.append(FieldProblem(("framing",), "none", expected))
        if self.registry is None and self.message is None:
            expected = "the full name of the message, as a file holds many"
            problems.append(FieldProblem(("message",), "nothing", expected))
        if problems:
            raise FieldProblems(problems)
        return self

    @property
    def is_framed(self) -> bool:
        """Whether messages begin with a schema id."""
        return self.registry is not None or self.framing == "confluent"


MessageFormat = Annotated[JsonFormat | AvroFormat | ProtobufFormat, Field(discriminator="type")]


class KafkaSource(SourceBase):
    """Messages of a topic, in slices, each message exactly once."""

    type: Literal["kafka"]
    """``kafka``"""
    bootstrap_servers: Brokers
    """Brokers to begin with: ``host:port``, several with commas between them."""
    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """The topic."""
    format: MessageFormat = JsonFormat(type="json")
    """How messages are written."""
    key_column: ColumnName | None = None
    """Column that gets the message's key as text; empty: keys are left out."""
    tombstones: Literal["dead_letter", "skip"] = "dead_letter"
    """What becomes of messages without a value."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where the first slice begins: with the oldest message that is there, or after the newest."""
    max_messages_per_slice: int = Field(default=200_000, ge=1, le=10_000_000)
    """Offsets that one slice spans."""
    on_gap: Literal["report", "fail"] = "report"
    """When messages were deleted before they were taken: report the gap and go on, or fail."""
    lateness: Duration | None = None
    """How much older than the newest event that was taken before a row may be; needs
    ``time_column``. Empty: nothing is late."""
    on_late: Literal["keep", "dead_letter"] = "keep"
    """What becomes of late rows."""
    group: str | None = Field(default=None, min_length=1, max_length=249)
    """Consumer group under which positions are shown to outside lag tools; never read."""
    timeout: Timeout = timedelta(seconds=30)
    """How long a broker may be silent before it counts as away."""
    intake: Intake = Intake()
    """When new messages are taken."""
    partitions: OffsetPartitions | None = None
    """Show ranges of offsets as Dagster partitions, each of which a back-fill reads again."""
    security: KafkaSecurity | None = None
    """Encryption and log-in; empty: plain text, for a broker on the same machine or network."""

    @model_validator(mode="after")
    def _columns_are_declared(self) -> KafkaSource:
        if problems := [
            *self._column_problems(),
            *self._name_problems(),
            *self._time_problems(),
        ]:
            raise FieldProblems(problems)
        return self

    def _column_problems(self) -> Iterator[FieldProblem]:
        if not self.columns:
            expected = "every column with its Spark SQL type: messages carry no contract"
            yield FieldProblem(("columns",), "none", expected)
        for name, written in self.columns.items():
            try:
                kind = parse_spark_type(written)
            except ValueError:
                expected = f"{', '.join(PLAIN)}, decimal(p,s), array<…> or struct<name:…>"
                yield FieldProblem(("columns", name), show(written), expected)
                continue
            if self.format.type == "json" and (inner := _unreadable(kind)):
                expected = "a type that JSON has: text for binary, dates at the top only"
                yield FieldProblem(("columns", name), inner, expected)

    def certificates(self) -> Iterator[tuple[Location, str]]:
        """Files of the encryption: where, and which."""
        for name in ("ca_file", "certificate_file", "key_file"):
            if self.security is not None and (file := getattr(self.security, name)):
                yield ("security", name), file

    def _name_problems(self) -> Iterator[FieldProblem]:
        own = [name.lower() for name in self.columns]
        taken = [*ENGINE_COLUMNS, *([self.key_column.lower()] if self.key_column else [])]
        for name in taken:
            if name in own or taken.count(name) > 1:
                yield FieldProblem(("columns",), name, "a name that the engine does not give")

    def _time_problems(self) -> Iterator[FieldProblem]:
        if self.time_column is None:
            if self.lateness is not None:
                yield FieldProblem(("lateness",), "no time_column", "`time_column` beside it")
        elif self.time_column != TIMESTAMP:
            kind = self.columns.get(self.time_column, "no declared column")
            if "".join(kind.lower().split()) not in _EVENT_TIMES:
                expected = f"{TIMESTAMP}, or a declared column with a timestamp or date"
                yield FieldProblem(("time_column",), kind, expected)
        if self.on_late == "dead_letter" and self.lateness is None:
            yield FieldProblem(("on_late",), "no lateness", "`lateness` beside it")

    @property
    def slices(self) -> Intake | None:
        """When slices are taken."""
        return self.intake

    def files(self) -> Iterator[tuple[Location, str, str]]:
        """Files that the source names: where, which, and with which ending."""
        if isinstance(self.format, AvroFormat) and self.format.schema_file:
            yield ("format", "schema_file"), self.format.schema_file, ".avsc"
        if isinstance(self.format, ProtobufFormat) and self.format.descriptor_file:
            yield ("format", "descriptor_file"), self.format.descriptor_file, ".desc"


def _one_way(registry: SchemaRegistry | None, file: str | None, name: str) -> list[FieldProblem]:
    """What is wrong where schemas come from a registry or a file: both, or neither."""
    if (registry is None) != (file is None):
        return []
    found = "both" if registry else "neither"
    return [FieldProblem((name,), found, f"one of `registry` and `{name}`")]


def _unreadable(kind: SparkType, *, is_top: bool = True) -> str | None:
    """The part of a type that JSON cannot hold, if there is one."""
    if kind.name == "binary" or (kind.name == "date" and not is_top):
        return kind.name
    return next(
        (bad for _, inner in kind.fields if (bad := _unreadable(inner, is_top=False))), None
    )
