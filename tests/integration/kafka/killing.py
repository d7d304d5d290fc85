"""Kill a consumer again and again while messages arrive, and count what came out."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from brokers import make_topic, produce
from slices import rows, taken

HERE = Path(__file__).parent
PARTITIONS = 2


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        sent: Messages that were sent.
        lost: Messages without a row.
        doubled: Rows beyond the first of their message.
        drafts: Unpublished drafts that kills left behind: how often work was really cut off.
    """

    sent: int
    lost: int
    doubled: int
    drafts: int


def kill_and_count(servers: str, topic: str, store: Path, *, kills: int, messages: int) -> Outcome:
    """Run it: consumers live for a random time that lets most of them publish something."""
    make_topic(servers, topic, PARTITIONS)
    store.mkdir(parents=True)
    dice = random.Random(7)
    done = 0
    for number in range(kills):
        share = range(done, done + messages // kills)
        done = share.stop
        sender = threading.Thread(target=_send, args=(servers, topic, share))
        sender.start()
        child = _start(servers, topic, store)
        before = _published(store)
        # A kill shortly after the first things happened hits writing and publishing; waiting for
        # them, and not for a time, makes it so on slow machines too. Every other kill is aimed: it
        # comes as soon as something is being written.
        while _published(store) == before and child.poll() is None:
            threading.Event().wait(0.005)
        if number % 2:
            threading.Event().wait(dice.uniform(0, 0.06))
        else:
            _wait_for_work(store)
        assert child.poll() is None, "the consumer ended by itself"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        sender.join()
    _finish(servers, topic, store)
    counts = Counter(row["id"] for row in rows(store))
    doubled = sum(counts.values()) - len(counts)
    drafts = _drafts(store) - _published(store)
    return Outcome(done, len(set(range(done)) - set(counts)), doubled, drafts)


def _published(store: Path) -> int:
    return len(list(store.glob("*.json")))


def _drafts(store: Path) -> int:
    return len(list(store.glob("draft-*")))


def _wait_for_work(store: Path) -> None:
    """Until there is one more draft than there is now, or nothing comes any more."""
    before, end = _drafts(store), time.monotonic() + 0.5
    while _drafts(store) == before and time.monotonic() < end:
        pass


def _start(servers: str, topic: str, store: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(HERE / "consumer_process.py"), servers, topic, str(store)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)


def _send(servers: str, topic: str, share: range) -> None:
    for partition in range(PARTITIONS):
        numbers = share[partition::PARTITIONS]
        produce(servers, topic, ({"id": i} for i in numbers), partition=partition)


def _finish(servers: str, topic: str, store: Path) -> None:
    """Let a last consumer take the rest."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "ends", "log_level": 0})
    ends = [
        consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=30)[1]
        for number in range(PARTITIONS)
    ]
    consumer.close()
    child = _start(servers, topic, store)
    while sum(int(part.end) for part in taken(store).values()) < sum(ends):
        assert child.poll() is None, "the consumer ended by itself"
        threading.Event().wait(0.05)
    child.kill()
    child.wait()
