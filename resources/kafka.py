"""A Kafka topic: what it holds, and exact ranges of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mlops_assets.config.kafka import KafkaSecurity
from mlops_assets.errors import EnvironmentProblemError, SourceError
from resources.kafka_security import client_settings

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError

_LOG = logging.getLogger(__name__)
_BATCH_BYTES = 16 * 1024 * 1024
_BATCH_MESSAGES = 20_000
_FIRST_BATCH = 64
_POLL_SECONDS = 0.1
_ASK_SECONDS = 1.0
_MAX_REASON = 300


@dataclass(frozen=True)
class Messages:
    """Messages of one partition, in the order of their offsets.

    Attributes:
        offsets: Their offsets; they grow, and may leave holes.
        timestamps: The broker's times, in milliseconds since 1970; None where it has none.
        keys: Their keys.
        values: What they hold; None in a tombstone.
    """

    offsets: list[int] = field(default_factory=list)
    timestamps: list[int | None] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)


class KafkaTopic:
    """A topic, read without a consumer group. Use it in a ``with`` statement.

    Only messages of committed transactions are seen, and none behind an open transaction.

    Args:
        servers: ``host:port``, several with commas between them.
        topic: Its name.
        where: For messages: whose topic it is.
        security: Encryption and log-in.
        directory: Where relative paths start.
        timeout_seconds: How long a broker may be silent.
        group: Consumer group for :meth:`commit`.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        *,
        where: str,
        security: KafkaSecurity | None = None,
        directory: Path | None = None,
        timeout_seconds: float = 30.0,
        group: str | None = None,
    ) -> None:
        self.topic = topic
        self.where = f"{where}, topic {topic}"
        self._timeout = timeout_seconds
        self._last_error = ""
        self._refusal = ""
        self._security = security
        settings = client_settings(security, directory or Path(), self.where)
        self._consumer = self._connect(servers, group or f"mlops-{topic}"[:249], settings)

    def _connect(self, servers: str, group: str, settings: Mapping[str, Any]) -> Consumer:
        try:
            from confluent_kafka import Consumer, KafkaException
        except ImportError as error:
            raise EnvironmentProblemError(
                "Kafka's client is not installed",
                where=self.where,
                fix="pip install 'mlops-assets[kafka]'",
            ) from error
        fixed = {
            "bootstrap.servers": servers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "queued.max.messages.kbytes": 32 * 1024,
            "error_cb": self._remember,
            "logger": _LOG,
        }
        try:
            return Consumer({**fixed, **settings})
        except KafkaException as error:
            reason = str(error.args[0].str())[:_MAX_REASON]
        raise EnvironmentProblemError(
            "the Kafka client refuses the settings", where=self.where, found=reason
        )

    def __enter__(self) -> KafkaTopic:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._consumer.close()

    def partitions(self) -> tuple[int, ...]:
        """Numbers of the partitions.

        Raises:
            SourceError: The broker is away, or there is no such topic.
        """
        topic = self._describe().topics[self.topic]
        if topic.error is not None:
            raise self._refused(topic.error)
        return tuple(sorted(topic.partitions))

    def _describe(self) -> Any:
        """What the broker tells first, so that here a log-in fails; that is known at once."""
        from confluent_kafka import KafkaException

        end = time.monotonic() + self._timeout
        while True:
            left = end - time.monotonic()
            try:
                return self._consumer.list_topics(
                    self.topic, timeout=max(min(left, _ASK_SECONDS), _POLL_SECONDS)
                )
            except KafkaException as error:
                self._consumer.poll(0)  # errors behind it are told only then
                if self._refusal:
                    raise self._not_let_in() from None
                if left <= _ASK_SECONDS:
                    raise self._away(error.args[0]) from None

    def watermarks(self, partition: int) -> tuple[int, int]:
        """First offset that is there, and the one after the last that is settled.

        Raises:
            SourceError: The broker is away.
        """
        from confluent_kafka import KafkaException, TopicPartition

        place = TopicPartition(self.topic, partition)
        try:
            found = self._consumer.get_watermark_offsets(place, timeout=self._timeout)
        except KafkaException as error:
            raise self._away(error.args[0]) from None
        if found is None:
            raise self._away(None)
        return int(found[0]), int(found[1])

    def read(self, partition: int, start: int, end: int) -> Iterator[Messages]:
        """The messages with offsets from ``start`` up to and without ``end``, in batches.

        Compaction and transactions leave holes in the offsets, so that the end is known by the
        position and not by a count.

        Raises:
            SourceError: The broker is away, or no longer has the whole range.
        """
        from confluent_kafka import TopicPartition

        position, size, heard = start, 0.0, time.monotonic()
        self._consumer.assign([TopicPartition(self.topic, partition, start)])
        try:
            while position < end:
                wanted = _batch_size(size, end - position)
                received = self._consumer.consume(wanted, timeout=_POLL_SECONDS)
                batch, reached = self._sort(received, partition, end)
                if reached > position:
                    position, heard = reached, time.monotonic()
                elif time.monotonic() - heard > self._timeout:
                    raise self._silent(partition, position, end)
                if batch.offsets:
                    size = sum(len(value or b"") for value in batch.values) / len(batch.values)
                    yield batch
        finally:
            self._consumer.unassign()

    def _sort(self, received: list[Any], partition: int, end: int) -> tuple[Messages, int]:
        """The messages before the end, and the position after everything that was received."""
        from confluent_kafka import KafkaError

        batch, reached = Messages(), -1
        for message in received:
            problem = message.error()
            if problem is None:
                reached = max(reached, message.offset() + 1)
                if message.offset() < end:
                    kind, moment = message.timestamp()
                    batch.offsets.append(message.offset())
                    batch.timestamps.append(moment if kind else None)
                    batch.keys.append(message.key())
                    batch.values.append(message.value())
            elif problem.code() == KafkaError._PARTITION_EOF:
                reached = max(reached, message.offset())
            elif problem.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                raise self._gone(partition, end)
            elif not _may_pass(problem):
                raise self._refused(problem)
            else:
                self._remember(problem)
        return batch, reached

    def commit(self, positions: Mapping[int, int]) -> None:
        """Show positions to outside lag tools; the engine never reads them.

        Args:
            positions: Next offset to take, by partition.

        Raises:
            SourceError: The broker is away or refuses.
        """
        from confluent_kafka import KafkaException, TopicPartition

        places = [TopicPartition(self.topic, part, at) for part, at in sorted(positions.items())]
        try:
            answers = self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            raise self._away(error.args[0]) from None
        for answer in answers or []:
            if answer.error is not None:
                raise self._refused(answer.error)

    def _remember(self, error: KafkaError) -> None:
        from confluent_kafka import KafkaError

        self._last_error = error.str()[:_MAX_REASON]
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
            self._refusal = self._last_error

    def _not_let_in(self) -> SourceError:
        used = self._security
        names = [used.username_env, used.password_env] if used and used.mechanism else []
        return SourceError(
            "the Kafka broker refuses the log-in",
            where=self.where,
            found=self._refusal,
            expected="a broker whose certificate is known, and a user whom it knows",
            fix="check `security`"
            + (f", and {names[0]} and {names[1]} in the environment" if names else "")
            + "; nothing was taken",
        )

    def _away(self, error: KafkaError | None) -> SourceError:
        return SourceError(
            "the Kafka broker is away",
            where=self.where,
            found=self._last_error or (error.str()[:_MAX_REASON] if error else "no answer"),
            expected=f"an answer within {self._timeout:g} seconds",
            fix="start it or check `bootstrap_servers` and `security`; nothing was taken, and "
            "the next run goes on where this one stopped",
        )

    def _refused(self, error: KafkaError) -> SourceError:
        return SourceError(
            "the Kafka broker refuses",
            where=self.where,
            found=error.str()[:_MAX_REASON],
            expected="a topic that exists and that this user may read",
        )

    def _gone(self, partition: int, end: int) -> SourceError:
        return SourceError(
            "the topic no longer has the messages",
            where=f"{self.where}, partition {partition}",
            found="offsets that were deleted since they were planned",
            expected=f"all offsets up to {end}",
            fix="run again: the plan names what is lost as a gap; lengthen the topic's retention",
        )

    def _silent(self, partition: int, position: int, end: int) -> SourceError:
        return SourceError(
            "the Kafka broker sends nothing more",
            where=f"{self.where}, partition {partition}",
            found=f"offset {position}, {self._last_error or 'and then silence'}",
            expected=f"messages up to offset {end} within {self._timeout:g} seconds",
            fix="check that the broker runs; run again: nothing of this slice was taken",
        )


def _batch_size(mean_bytes: float, left: int) -> int:
    """Messages to ask for: few until their size is known, so that large ones fit into memory."""
    by_size = _BATCH_BYTES / mean_bytes if mean_bytes else _FIRST_BATCH
    return int(max(1, min(by_size, _BATCH_MESSAGES, left)))


def _may_pass(error: KafkaError) -> bool:
    """Whether waiting may help; the reader's own deadline ends it."""
    from confluent_kafka import KafkaError

    passing = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT)
    return error.retriable() or error.code() in passing
