"""The deployment ledger: an append-only series of numbered entries, the truth about what is live.

Each entry is created only if its number is free, so that of two runs that deploy at once exactly
one wins. Any earlier state is restored by a new entry; nothing is ever changed or removed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mlops_assets.errors import AlreadyExistsError, LedgerConflictError, StoreError
from resources.processes import machine_identity, start_ticks
from resources.store import Store

Action = Literal["deploy", "promote", "quarantine", "abandon", "rollback", "retire"]
LIVE_ACTIONS = frozenset({"promote", "rollback"})
"""Actions that make their version the live one."""
CLOSING = frozenset({"promote", "quarantine", "abandon"})
LEASE = timedelta(minutes=15)
"""A deployment that was begun longer ago than this and never ended is taken for dead."""


class Entry(BaseModel):
    """One line of the ledger.

    Attributes:
        sequence: Its number, from 1.
        action: ``deploy`` begins a deployment and takes a version number; ``promote`` (it is
            live), ``quarantine`` (it was refused) or ``abandon`` (its run died) ends it;
            ``rollback`` makes an earlier version live again; ``retire`` takes the model offline.
        version: The version in question.
        bundle_id: Content of that version.
        run_id: Who wrote the entry.
        reason: One sentence.
        evidence: JSON that supports it.
        at: When (UTC).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    action: Action
    version: int
    bundle_id: str
    run_id: str
    reason: str
    evidence: dict[str, Any]
    at: datetime


@dataclass(frozen=True)
class LedgerState:
    """What the entries add up to.

    Attributes:
        head: Number of the newest entry, 0 when there is none.
        champion: The entry that made the live version live, if a version is live.
        serving: Versions to keep loaded, newest first; the champion is the first of them.
        earlier: Versions below the champion that were live and were not rolled back from, newest
            first.
        lived: Every version that was ever live.
        left: Version by bundle, for what a rollback took offline and nobody put back since.
        bundles: Bundle by version, for every version that was ever begun.
        quarantined: Versions that were refused or abandoned.
        pending: A deployment that was begun and has not ended.
    """

    head: int = 0
    champion: Entry | None = None
    serving: tuple[int, ...] = ()
    earlier: tuple[int, ...] = ()
    lived: frozenset[int] = frozenset()
    left: dict[str, int] = field(default_factory=dict)
    bundles: dict[int, str] = field(default_factory=dict)
    quarantined: frozenset[int] = frozenset()
    pending: Entry | None = None

    @property
    def champion_version(self) -> int | None:
        """The live version."""
        return self.champion.version if self.champion else None

    @property
    def next_version(self) -> int:
        """A number that no version ever had."""
        return max(self.bundles, default=0) + 1


class Ledger:
    """One project's ledger in the store.

    Args:
        store: The store.
        prefix: Key prefix of the entries.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def entries(self) -> list[Entry]:
        """All entries, oldest first.

        Raises:
            StoreError: One of them was damaged.
        """
        keys = sorted(self._store.keys(self._prefix))
        bodies = self._store.read_all(keys)
        return [_parsed(body, key) for key, body in zip(keys, bodies, strict=True)]

    def newest_first(self) -> Iterator[Entry]:
        """The entries, each read when it is asked for: the newest ones mostly say enough.

        Raises:
            StoreError: One of them was damaged.
        """
        return (self._read(key) for key in sorted(self._store.keys(self._prefix), reverse=True))

    def is_empty(self) -> bool:
        """Whether nothing was ever deployed; no entry is read."""
        return not self._store.keys(self._prefix)

    def is_live(self) -> bool:
        """Whether a version is live: what the newest entry says that makes one so, or none."""
        changes = (e.action for e in self.newest_first() if e.action in {*LIVE_ACTIONS, "retire"})
        return next(changes, "retire") != "retire"

    def state(self, keep_versions: int = 3) -> LedgerState:
        """What is live, loaded and in flight.

        Args:
            keep_versions: How many versions stay loaded, champion included.
        """
        return fold(self.entries(), keep_versions)

    def append(
        self,
        action: Action,
        *,
        version: int,
        bundle_id: str,
        run_id: str,
        reason: str,
        expected_head: int,
        evidence: dict[str, Any] | None = None,
    ) -> Entry:
        """Add an entry right after the one that the caller has seen last.

        Args:
            action: See :class:`Entry`.
            version: The version in question.
            bundle_id: Its content.
            run_id: Who writes.
            reason: One sentence.
            expected_head: Number of the newest entry that the caller knows.
            evidence: JSON that supports the entry.

        Raises:
            LedgerConflictError: Another run wrote that entry first.
        """
        entry = Entry(
            sequence=expected_head + 1,
            action=action,
            version=version,
            bundle_id=bundle_id,
            run_id=run_id,
            reason=reason,
            evidence=evidence or {},
            at=datetime.now(UTC),
        )
        try:
            self._store.create(self._key(entry.sequence), entry.model_dump_json().encode())
        except AlreadyExistsError as error:
            winner = self._read(self._key(entry.sequence))
            raise LedgerConflictError(
                f"another run changed the deployment first, so `{action}` of version {version} "
                "was given up",
                where=f"{self._prefix} entry {entry.sequence}",
                found=f"{winner.action} of version {winner.version} by run {winner.run_id}",
                expected=f"entry {expected_head} to be the newest",
                fix="look at what is live now (`mlops status`) and run again if it is still wanted",
            ) from error
        return entry

    def _read(self, key: str) -> Entry:
        return _parsed(self._store.read(key), key)

    def _key(self, sequence: int) -> str:
        return f"{self._prefix}/{sequence:06d}.json"


def _parsed(body: bytes, key: str) -> Entry:
    try:
        return Entry.model_validate_json(body)
    except ValidationError as error:
        raise StoreError(
            "an entry of the deployment ledger cannot be read",
            where=key,
            found=f"{error.error_count()} problems, the first: {error.errors()[0]['msg']}",
            fix="restore the file from a backup; entries are never changed by the engine",
        ) from error


def fold(entries: Sequence[Entry], keep_versions: int) -> LedgerState:
    """Add entries up to a state (pure).

    Versions that were live before the champion stay loaded, newest first, as far as
    ``keep_versions`` reaches. Versions above the champion are never loaded, because clients that
    name no version get the highest one; those that a rollback left are not gone back to either,
    unless a later rollback names them.
    """
    champion: Entry | None = None
    pending: Entry | None = None
    bundles: dict[int, str] = {}
    refused: set[int] = set()
    lived: set[int] = set()
    trusted: set[int] = set()
    left: dict[str, int] = {}
    for entry in entries:
        bundles.setdefault(entry.version, entry.bundle_id)
        if entry.action == "deploy":
            pending = entry
        elif entry.action in CLOSING and pending and pending.version == entry.version:
            pending = None
        if entry.action in {"quarantine", "abandon"}:
            refused.add(entry.version)
        if entry.action in LIVE_ACTIONS:
            if champion is not None and entry.version < champion.version:
                left[champion.bundle_id] = champion.version
            left.pop(entry.bundle_id, None)
            champion = entry
            lived.add(entry.version)
            trusted = {v for v in trusted if v < entry.version} | {entry.version}
        if entry.action == "retire":
            champion = None
    current = (champion.version,) if champion else ()
    earlier = tuple(sorted(trusted - set(current), reverse=True))
    return LedgerState(
        head=entries[-1].sequence if entries else 0,
        champion=champion,
        serving=(*current, *earlier)[:keep_versions] if current else (),
        earlier=earlier,
        lived=frozenset(lived),
        left=left,
        bundles=bundles,
        quarantined=frozenset(refused),
        pending=pending,
    )


def writer_identity() -> dict[str, Any]:
    """Which process writes, for the evidence of a ``deploy`` entry."""
    return {
        "host": socket.gethostname(),
        "machine": machine_identity(),
        "pid": os.getpid(),
        "start_ticks": start_ticks(os.getpid()),
    }


def is_dead(pending: Entry, now: datetime, run_id: str | None = None) -> bool:
    """Whether a begun deployment will never end.

    Its process is gone (seen from the same machine and container), it is older than
    :data:`LEASE`, or the run that asks has begun it itself and comes back after a failure.

    Args:
        pending: The ``deploy`` entry.
        now: The time (UTC).
        run_id: The run that asks.
    """
    if pending.run_id == run_id or now - pending.at > LEASE:
        return True
    writer = pending.evidence
    if writer.get("machine") != machine_identity():
        return False
    return bool(start_ticks(int(writer["pid"])) != writer["start_ticks"])
