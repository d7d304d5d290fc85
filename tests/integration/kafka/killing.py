"""Kill the engine's ingestion again and again while messages arrive, and count what came out."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from brokers import make_topic, produce
from consumer_process import SOURCE, project_for

from mlops_assets.sources.landing import land, landed
from resources.local_store import LocalStore

HERE = Path(__file__).parent
PARTITIONS = 2
LONGEST_LIFE_SECONDS = 1.5
"""A process is killed at a random moment of that time after messages began to come."""


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        sent: Messages that were sent.
        lost: Messages without a row.
        doubled: Rows beyond the first of their message.
        slices: Published slices.
        cut_off: Drafts of slices, with something in them, that kills left behind.
    """

    sent: int
    lost: int
    doubled: int
    slices: int
    cut_off: int


def kill_and_count(servers: str, topic: str, store: Path, *, kills: int, messages: int) -> Outcome:
    """Two processes take the same topic at any time, and each of them is killed in its turn.

    Messages come all the time, so that there is always something to take, and two ingestions that
    want the same slice meet.
    """
    make_topic(servers, topic, PARTITIONS)
    dice = random.Random(7)
    done = 0
    with _Ingestions(servers, topic, store) as ingestions:
        older = ingestions.start()
        for number in range(kills):
            newer = ingestions.start()
            share = range(done, done + messages // kills)
            done = share.stop
            senders = _send(servers, topic, share)
            time.sleep(dice.uniform(0, LONGEST_LIFE_SECONDS))
            if number % 2:  # every other kill is aimed: something is being written
                _wait_for_draft(store)
            ingestions.kill(older)
            older = newer
            for sender in senders:
                sender.join()
    return _count(servers, topic, LocalStore(store), done)


class _Ingestions:
    """Processes that take the topic; those that are left are killed at the end."""

    def __init__(self, servers: str, topic: str, store: Path) -> None:
        self._alive: set[int] = set()
        self._parent = subprocess.Popen(
            [sys.executable, str(HERE / "consumer_process.py"), servers, topic, str(store)],
            env={**os.environ, "PYTHONPATH": str(HERE.parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> _Ingestions:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._alive:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._parent.communicate()

    def start(self) -> int:
        """One more; its process id."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write("\n")
        self._parent.stdin.flush()
        child = int(self._parent.stdout.readline())
        self._alive.add(child)
        return child

    def kill(self, child: int) -> None:
        """End it in the middle of what it does; it fails where it ended by itself before."""
        self._alive.remove(child)
        os.kill(child, signal.SIGKILL)


def _send(servers: str, topic: str, share: range) -> list[threading.Thread]:
    """Send messages to both partitions, a few at a time, for a second and more."""
    senders = [
        threading.Thread(
            target=produce,
            args=(servers, topic, _paced(share[partition::PARTITIONS])),
            kwargs={"partition": partition},
        )
        for partition in range(PARTITIONS)
    ]
    for sender in senders:
        sender.start()
    return senders


def _paced(numbers: range) -> Iterator[dict[str, int]]:
    for number in numbers:
        yield {"id": number}
        if number % 20 < PARTITIONS:
            time.sleep(0.04)


def _drafts(store: Path) -> set[Path]:
    """Drafts with something in them."""
    staging = store / ".staging"
    # os.walk passes over what is gone in the meantime.
    return {Path(place) for place, _, files in os.walk(staging) if files and place != str(staging)}


def _wait_for_draft(store: Path) -> None:
    """Until there is one that was not there, or nothing comes any more."""
    before, end = _drafts(store), time.monotonic() + 0.5
    while not _drafts(store) - before and time.monotonic() < end:
        pass


def _count(servers: str, topic: str, store: LocalStore, sent: int) -> Outcome:
    """Take the rest, and compare all rows with all messages."""
    project = project_for(servers, topic)
    drafts = _drafts(store.root)
    while land(project, SOURCE, store).waiting:
        pass
    slices = landed(project, SOURCE, store)
    files = [path for manifest in slices for path in store.files(manifest)]
    tables = [pq.read_table(path, columns=["id"]) for path in files if path.suffix == ".parquet"]
    counts = Counter(number for table in tables for number in table["id"].to_pylist())
    doubled = sum(counts.values()) - len(counts)
    lost = len(set(range(sent)) - set(counts))
    return Outcome(sent, lost, doubled, len(slices), len(drafts))
