"""Messages a second into Parquet beside a plain consumer, and kills that lose nothing.

    python -m benchmarks.kafka_ingestion

The plain consumer is what a script usually has: ``poll()``, ``json.loads`` a message, a list of
dictionaries, one pandas frame for each 100,000 of them, ``to_parquet``. It checks no types and
sets no bad message aside. Both read the same topic of a real broker (noida-db) on this machine.

What is killed is the engine's ingestion as a run has it, ``land()`` into a store in a folder, two
of them at a time.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.report import Report
from mlops_assets.config.kafka import KafkaSource
from mlops_assets.keys import ProjectId
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.kafka import INCREMENTAL

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "integration" / "kafka"))

MESSAGES = 400_000
KILLS = 100
KILL_MESSAGES = 50_000
PLAIN_ROWS = 100_000
COLUMNS = {"id": "bigint", "at": "timestamp", "user": "string", "price": "double", "tag": "string"}


def messages(partition: int, partitions: int) -> Iterator[dict[str, Any]]:
    """Events of about 110 bytes."""
    for i in range(partition, MESSAGES, partitions):
        moment = f"2026-03-{1 + i % 28:02}T12:00:{i % 60:02}Z"
        yield {"id": i, "at": moment, "user": f"user-{i % 977}", "price": i / 7, "tag": "a b c"}


def spec_for(servers: str, topic: str) -> KafkaSource:
    """The engine's source."""
    return KafkaSource(
        type="kafka",
        bootstrap_servers=servers,
        topic=topic,
        columns=COLUMNS,
        time_column="at",
    )


def measure_engine(servers: str, topic: str, folder: Path) -> float:
    """Seconds for everything there is."""
    spec = spec_for(servers, topic)
    context = SourceContext(ProjectId("team", "mine"), folder, folder, "events")
    started = time.perf_counter()
    rows = 0
    for part in INCREMENTAL.plan(spec, {}, context).slices:
        draft = folder / part.name
        draft.mkdir()
        rows += INCREMENTAL.write(spec, part, draft, context).rows
    seconds = time.perf_counter() - started
    assert rows == MESSAGES
    return seconds


def measure_plain(servers: str, topic: str, partitions: int, folder: Path) -> float:
    """Seconds of the plain consumer."""
    import pandas as pd
    from confluent_kafka import Consumer, TopicPartition

    started = time.perf_counter()
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "plain", "log_level": 0})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    rows: list[dict[str, Any]] = []
    files = count = 0
    while count < MESSAGES:
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        row = json.loads(message.value())
        row["_partition"], row["_offset"] = message.partition(), message.offset()
        row["_timestamp"] = message.timestamp()[1]
        rows.append(row)
        count += 1
        if len(rows) == PLAIN_ROWS or count == MESSAGES:
            frame = pd.DataFrame(rows)
            frame["at"] = pd.to_datetime(frame["at"])
            frame.to_parquet(folder / f"plain-{files}.parquet")
            files, rows = files + 1, []
    consumer.close()
    return time.perf_counter() - started


def measure(servers: str, partitions: int, folder: Path) -> dict[str, Any]:
    """Both, three times in turn; the ratio is taken within a turn."""
    from brokers import make_topic, produce

    topic = f"events-{partitions}"
    make_topic(servers, topic, partitions)
    for number in range(partitions):
        produce(servers, topic, messages(number, partitions), partition=number)
    turns = []
    for turn in range(3):
        place = folder / f"{topic}-{turn}"
        place.mkdir()
        plain = measure_plain(servers, topic, partitions, place)
        turns.append((measure_engine(servers, topic, place), plain))
    engine, plain = (statistics.median(part) for part in zip(*turns, strict=True))
    ratio = statistics.median(plain / engine for engine, plain in turns)
    return {
        "partitions": partitions,
        "engine rows/s": f"{MESSAGES / engine:,.0f}",
        "plain rows/s": f"{MESSAGES / plain:,.0f}",
        "ratio": f"{ratio:.1f}x",
    }


def run() -> Report:
    """Measure with a broker of its own."""
    from brokers import running_broker
    from killing import kill_and_count

    with tempfile.TemporaryDirectory() as name, running_broker(Path(name) / "broker") as servers:
        folder = Path(name)
        rows = [measure(servers, partitions, folder) for partitions in (1, 4)]
        outcome = kill_and_count(
            servers, "killed", folder / "store", kills=KILLS, messages=KILL_MESSAGES
        )
    text = (
        f"{MESSAGES:,} JSON messages of 5 columns from a real broker on the same machine into "
        "Parquet, with strict types, beside a plain consumer (`poll`, `json.loads`, pandas); "
        f"medians of 3 rounds. Two ingestions at a time (`land()` into a store), one of which was "
        f"killed with SIGKILL {KILLS} times while {outcome.sent:,} messages arrived, every other "
        f"time aimed at a moment of writing, published {outcome.slices:,} slices; "
        f"{outcome.cut_off} drafts with data were cut off. {outcome.lost} messages were lost and "
        f"{outcome.doubled} doubled."
    )
    return Report("Kafka ingestion", text, rows)


if __name__ == "__main__":
    print(run().render())
