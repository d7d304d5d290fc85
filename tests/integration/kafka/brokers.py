"""A real broker on a free loopback port, and what tests do with topics."""

from __future__ import annotations

import importlib.resources
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resources.processes import HOST, log_tail, start_process, stop_group
from tests.ports import spare_port

START_SECONDS = 60


@contextmanager
def running_broker(folder: Path) -> Iterator[str]:
    """A broker of its own; yields ``host:port``. Its data are gone afterwards."""
    port = spare_port()
    # The package's own command would leave a child behind.
    binary = Path(str(importlib.resources.files("noida_db"))) / "noida-db"
    options = ["--only", "kafka", "--kafka-port", str(port), "--data-dir", str(folder / "data")]
    log = folder / "broker.log"
    folder.mkdir(parents=True, exist_ok=True)
    process, record = start_process(
        [binary, "start", *options], environment=dict(os.environ), log=log, directory=folder
    )
    try:
        _wait(f"{HOST}:{port}", log)
        yield f"{HOST}:{port}"
    finally:
        stop_group(record, grace_seconds=3)
        process.wait(timeout=10)


def _wait(servers: str, log: Path) -> None:
    from confluent_kafka import KafkaException

    end = time.monotonic() + START_SECONDS
    while True:
        try:
            admin(servers).list_topics(timeout=2)
        except KafkaException:
            if time.monotonic() > end:
                raise RuntimeError(f"the broker did not start\n{log_tail(log)}") from None
        else:
            return


def admin(servers: str) -> Any:
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": servers, "log_level": 0})


def make_topic(servers: str, name: str, partitions: int = 1) -> None:
    from confluent_kafka.admin import NewTopic

    client = admin(servers)  # its answers end with it
    for future in client.create_topics([NewTopic(name, partitions)]).values():
        future.result(30)


def delete_before(servers: str, topic: str, partition: int, offset: int) -> None:
    """What retention does: delete the oldest messages."""
    from confluent_kafka import TopicPartition

    place = TopicPartition(topic, partition, offset)
    client = admin(servers)
    for future in client.delete_records([place]).values():
        future.result(30)


def produce(
    servers: str, topic: str, values: Iterable[Any], *, partition: int = 0, key: Any = None
) -> None:
    """Send messages: bytes and None as they are, everything else as JSON."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "log_level": 0, "linger.ms": 5})
    for value in values:
        sent = value if value is None or isinstance(value, bytes) else json.dumps(value)
        while True:
            try:
                producer.produce(topic, sent, partition=partition, key=key)
            except BufferError:
                producer.poll(0.1)
            else:
                break
        producer.poll(0)
    assert producer.flush(60) == 0
