"""Tell each alert to each of its channels: at least once, and nearly always exactly once.

An alert is first kept in the store, under a name that is the same for the same occasion. Each
attempt to send it is claimed there before it is made, so that two daemons do not both send it, and
that it was sent is kept as well. Killed between sending and that, it is sent again after
:func:`wait_after`: a message that is lost would be worse than one that comes twice. A channel that
fails is tried :data:`ATTEMPTS` times, and holds no other channel up.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, cast

from mlops_assets.alerts.base import Alert, Sender
from mlops_assets.config.alerts import AlertsSpec
from mlops_assets.config.redaction import Redactor
from mlops_assets.errors import AlreadyExistsError

if TYPE_CHECKING:
    from resources.store import Store

ATTEMPTS = 14
"""So often a channel is tried for one alert: for eight hours."""
LONGEST_WAIT = timedelta(hours=1)
SECONDS_PER_TICK = 20.0
"""After this time the rest waits for the next tick; Dagster ends a tick after a minute."""


def wait_after(attempts: int) -> timedelta:
    """How long a channel is left alone after so many attempts: 1, 2, 4, … 60 minutes."""
    return min(timedelta(minutes=2 ** (attempts - 1)), LONGEST_WAIT)


@dataclass
class _Round:
    """One call of :meth:`Outbox.deliver`."""

    now: datetime
    deadline: float
    failed: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


class Outbox:
    """Alerts of one team that are kept until they were told.

    Args:
        store: The store.
        team: The team.
        spec: Its channels and routes.
        redactor: Hides secrets in what is kept and in what is said about failures.

    Attributes:
        unsettled: Fingerprints of the alerts that the last delivery left for later.
    """

    def __init__(self, store: Store, team: str, spec: AlertsSpec, redactor: Redactor) -> None:
        self._store = store
        # No project can have a name with a dot.
        self._prefix = f"{team}/alerts.outbox"
        self._spec = spec
        self._redactor = redactor
        self.unsettled: list[str] = []

    def add(self, alert: Alert) -> bool:
        """Keep an alert.

        Returns:
            Whether it is new.
        """
        safe = replace(alert, text=self._redactor.redact(alert.text))
        body = json.dumps(safe.to_dict(), sort_keys=True).encode()
        return self._create(f"{alert.fingerprint}/alert.json", body)

    def deliver(
        self, now: datetime | None = None, only: Collection[str] | None = None
    ) -> list[str]:
        """Send what was not sent yet, oldest first; a channel that fails rests until the next call.

        Args:
            now: The time (UTC).
            only: Fingerprints to look at; None looks through everything that was ever kept.

        Returns:
            One sentence for each failure.
        """
        this = _Round(now or datetime.now(UTC), time.monotonic() + SECONDS_PER_TICK)
        waiting: list[tuple[Alert, str, set[str]]] = []
        self.unsettled = []
        for folder, names in self._open(only):
            alert = self._load(folder)
            if alert is None:
                this.problems.append(f"alert {folder} cannot be read and is dropped")
                self._create(f"{folder}/done", b"unreadable")
            else:
                waiting.append((alert, folder, names))
        for alert, folder, names in sorted(waiting, key=lambda one: one[0].at):
            states = [self._tell(alert, c, folder, names, this) for c in self.channels_of(alert)]
            if "waiting" in states:
                self.unsettled.append(folder)
            else:
                self._create(f"{folder}/done", ", ".join(states).encode())
        return this.problems

    def channels_of(self, alert: Alert) -> list[str]:
        """Names of the channels that an alert goes to, each once."""
        name = alert.project.rpartition("/")[2]
        found = [
            channel
            for route in self._spec.chosen_routes
            if (not route.kinds or alert.kind in route.kinds)
            and (not route.severities or alert.severity in route.severities)
            and any(fnmatchcase(name, pattern) for pattern in route.projects)
            for channel in route.channels
        ]
        return list(dict.fromkeys(found))

    def _open(self, only: Collection[str] | None) -> Iterator[tuple[str, set[str]]]:
        """Alerts that are not settled, with the names of what is kept about them."""
        places = [self._prefix] if only is None else [f"{self._prefix}/{one}" for one in set(only)]
        folders: dict[str, set[str]] = {}
        for key in (key for place in places for key in self._store.keys(place)):
            folder, _, name = key.removeprefix(f"{self._prefix}/").partition("/")
            folders.setdefault(folder, set()).add(name)
        for folder, names in folders.items():
            if "done" not in names:
                yield folder, names

    def _load(self, folder: str) -> Alert | None:
        try:
            return Alert(**json.loads(self._store.read(f"{self._prefix}/{folder}/alert.json")))
        except (ValueError, TypeError):
            return None

    def _tell(
        self, alert: Alert, name: str, folder: str, names: Collection[str], this: _Round
    ) -> str:
        """Try one channel, if it is time: ``told``, ``waiting`` or ``given up``."""
        if f"{name}.sent" in names:
            return "told"
        attempts = sum(1 for kept in names if kept.startswith(f"{name}.try"))
        if attempts and this.now < self._tried_at(folder, name, attempts) + wait_after(attempts):
            return "waiting"
        if attempts >= ATTEMPTS:
            return "given up"
        if name in this.failed or time.monotonic() > this.deadline:
            return "waiting"
        claim = f"{folder}/{name}.try{attempts + 1}"
        if not self._create(claim, this.now.isoformat().encode()):
            return "waiting"
        try:
            channel = self._spec.channels[name]
            sender_for(channel.type).send(alert, channel)
        except Exception as error:  # noqa: BLE001 - one channel must not hold up the others
            this.failed.add(name)
            this.problems.append(self._explain(name, attempts + 1, error))
            return "waiting"
        self._create(f"{folder}/{name}.sent", this.now.isoformat().encode())
        return "told"

    def _tried_at(self, folder: str, name: str, attempt: int) -> datetime:
        body = self._store.read(f"{self._prefix}/{folder}/{name}.try{attempt}")
        return datetime.fromisoformat(body.decode())

    def _explain(self, name: str, attempt: int, error: Exception) -> str:
        said = self._redactor.redact(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
        rest = "it is tried again" if attempt < ATTEMPTS else "it is given up for this alert"
        return f"channel {name}: {said} (attempt {attempt} of {ATTEMPTS}; {rest})"

    def _create(self, name: str, body: bytes) -> bool:
        try:
            self._store.create(f"{self._prefix}/{name}", body)
        except AlreadyExistsError:
            return False
        return True


def sender_for(kind: str) -> Sender:
    """The channel of a type: the file of that name."""
    module = importlib.import_module(f"mlops_assets.alerts.{kind}")
    return cast(Sender, module.SENDER)
