"""Log predictions to a Kafka topic, in the form that ``inference_log.source`` reads.

with PredictionTopic("broker:9092", "predictions") as log:
    log.add(inputs=row, prediction=0.82, model_version=3, latency_ms=4.1)
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import EnvironmentProblemError
from mlops_assets.serving.prediction_log import PredictionLog

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

_MAX_REASON = 300


class PredictionTopic(PredictionLog):
    """Sends each prediction as one JSON message with the request id as its key.

    It can be used by many threads, and :meth:`add` does not wait for the broker. A message is
    written once even when its answer was lost (an idempotent producer). What was not sent when the
    process is killed is lost.

    Args:
        servers: ``host:port``, several with commas between them.
        topic: The topic.
        settings: Further settings of the client (librdkafka), such as those of a log-in.
        max_waiting: Predictions that may wait for the broker; the next one is refused.
        timeout_seconds: How long one may wait before it counts as lost.

    Raises:
        EnvironmentProblemError: The client is not installed, or refuses the settings.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        *,
        settings: Mapping[str, Any] | None = None,
        max_waiting: int = 100_000,
        timeout_seconds: float = 120.0,
    ) -> None:
        self.topic = topic
        self.servers = servers
        self._timeout = timeout_seconds
        self._lock = threading.Lock()
        self._lost = 0
        self._reason = ""
        fixed = {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": max_waiting,
            "message.timeout.ms": int(timeout_seconds * 1000),
        }
        self._producer = self._connect({**fixed, **(settings or {})})

    def _connect(self, settings: dict[str, Any]) -> Any:
        try:
            from confluent_kafka import KafkaException, Producer
        except ImportError as error:
            raise EnvironmentProblemError(
                "Kafka's client is not installed",
                where=self.topic,
                fix="pip install 'mlops-assets[kafka]'",
            ) from error
        try:
            return Producer(settings)
        except KafkaException as error:
            reason = str(error.args[0].str())[:_MAX_REASON]
        raise EnvironmentProblemError(
            "the Kafka client refuses the settings", where=self.topic, found=reason
        )

    def flush(self) -> None:
        """Wait until everything is with the broker.

        Raises:
            OSError: Predictions were lost since the last call: how many, and why.
        """
        waiting = self._producer.flush(self._timeout + 1)
        with self._lock:
            lost, self._lost = self._lost + waiting, 0
        if lost:
            reason = self._reason or "no answer"
            raise OSError(
                f"{lost:,} predictions did not reach topic {self.topic} at {self.servers}: {reason}"
            )

    def _keep(self, row: dict[str, Any]) -> None:
        """Hand a prediction over to the client.

        Raises:
            OSError: It is too large, or too many are waiting already; this one is not logged.
        """
        from confluent_kafka import KafkaException

        body = json.dumps(
            {name: _plain(value) for name, value in row.items()}, allow_nan=False, default=str
        )
        try:
            self._producer.produce(
                self.topic, body, key=row["request_id"], on_delivery=self._delivered
            )
        except BufferError:
            self._producer.poll(0)
            raise OSError(
                f"{len(self._producer):,} predictions wait for {self.servers}: this one is not "
                f"logged ({self._reason or 'no answer yet'})"
            ) from None
        except KafkaException as error:
            raise OSError(
                f"a prediction of {len(body):,} bytes is not logged to topic {self.topic}: "
                f"{str(error.args[0].str())[:_MAX_REASON]}"
            ) from None
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            with self._lock:
                self._lost += 1
                self._reason = error.str()[:_MAX_REASON]


def _plain(value: Any) -> Any:
    """A value as JSON has it: moments in UTC, numbers that are none as missing."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(timespec="microseconds")
    if hasattr(value, "item") and not isinstance(value, list):
        value = value.item()  # a NumPy scalar
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
