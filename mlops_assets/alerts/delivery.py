"""Tell each alert to each of its channels, at least once and nearly always exactly once.

An alert is first kept in the store, under a name that is the same for the same occasion, and then
sent. That it was sent is kept as well. Killed in between, it is sent again; a message that is lost
would be worse than one that comes twice. A channel that fails is tried again for
:data:`GIVE_UP_AFTER`, and holds no other channel up.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, cast

from mlops_assets.alerts.base import Alert, Sender
from mlops_assets.config.alerts import AlertsSpec
from mlops_assets.config.redaction import Redactor
from mlops_assets.errors import AlreadyExistsError

if TYPE_CHECKING:
    from resources.store import Store

GIVE_UP_AFTER = timedelta(days=1)
PER_TICK = 50
"""So many undelivered alerts are tried in one go."""


class Outbox:
    """Alerts of one team that are kept until they were told.

    Args:
        store: The store.
        team: The team.
        spec: Its channels and routes.
        redactor: Hides secrets in what is said about failures.
    """

    def __init__(self, store: Store, team: str, spec: AlertsSpec, redactor: Redactor) -> None:
        self._store = store
        # No project can have a name with a dot.
        self._prefix = f"{team}/alerts.outbox"
        self._spec = spec
        self._redactor = redactor

    def add(self, alert: Alert) -> bool:
        """Keep an alert.

        Returns:
            Whether it is new.
        """
        body = json.dumps(alert.to_dict(), sort_keys=True).encode()
        return self._create(f"{alert.fingerprint}/alert.json", body)

    def deliver(self, now: datetime | None = None) -> list[str]:
        """Send what was not sent yet.

        Returns:
            One sentence for each failure.
        """
        moment = now or datetime.now(UTC)
        keys = self._store.keys(self._prefix)
        settled = {key.rpartition("/")[0] for key in keys if key.endswith("/done")}
        told = {key for key in keys if key.endswith(".sent")}
        problems: list[str] = []
        waiting = [key for key in keys if key.endswith("/alert.json")]
        waiting = [key for key in waiting if key.rpartition("/")[0] not in settled]
        for key in waiting[:PER_TICK]:
            folder = key.rpartition("/")[0].removeprefix(f"{self._prefix}/")
            alert = Alert(**json.loads(self._store.read(key)))
            failures = list(self._send(alert, folder, told))
            expired = moment - datetime.fromisoformat(alert.at) > GIVE_UP_AFTER
            if not failures or expired:
                self._create(f"{folder}/done", b"given up" if failures else b"told")
            problems += failures
        return problems

    def _send(self, alert: Alert, folder: str, told: set[str]) -> Iterable[str]:
        for name in self.channels_of(alert):
            marker = f"{folder}/{name}.sent"
            if f"{self._prefix}/{marker}" in told:
                continue
            channel = self._spec.channels[name]
            try:
                sender_for(channel.type).send(alert, channel)
            except Exception as error:  # noqa: BLE001 - one channel must not hold up the others
                text = self._redactor.redact(f"{type(error).__name__}: {error}")
                yield f"channel {name}: {text.splitlines()[0][:300]}"
            else:
                self._create(marker, alert.at.encode())

    def channels_of(self, alert: Alert) -> list[str]:
        """Names of the channels that an alert goes to, each once."""
        name = alert.project.rpartition("/")[2]
        found = [
            channel
            for route in self._spec.routes
            if (not route.kinds or alert.kind in route.kinds)
            and any(fnmatchcase(name, pattern) for pattern in route.projects)
            for channel in route.channels
        ]
        return list(dict.fromkeys(found))

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
