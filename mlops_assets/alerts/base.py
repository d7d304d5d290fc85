"""What an alert is, and what a channel does with it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from mlops_assets.keys import (
    DATA_QUALITY_CHECK,
    DEPLOYMENT_CHECK,
    DRIFT_CHECK,
    LABELS_CHECK,
    NEEDS_PEOPLE_CHECK,
    PERFORMANCE_CHECK,
    PROMOTION_CHECK,
)

TIMEOUT_SECONDS = 5.0
"""For each answer of a channel: Dagster ends a sensor's evaluation after a minute."""

KINDS = {
    PROMOTION_CHECK: "gate",
    DEPLOYMENT_CHECK: "deployment",
    DRIFT_CHECK: "drift",
    PERFORMANCE_CHECK: "performance",
    LABELS_CHECK: "labels",
    DATA_QUALITY_CHECK: "quality",
    NEEDS_PEOPLE_CHECK: "decision",
}
"""What a check is about by its name; every other check is about the quality of data."""


@dataclass(frozen=True)
class Alert:
    """Something that people should know.

    Attributes:
        kind: One of :data:`mlops_assets.config.alerts.AlertKind`.
        state: ``failed``, ``still failing`` or ``recovered``.
        severity: ``error`` or ``warn``.
        project: ``team/name``.
        asset: The asset's key, parts joined by ``/``.
        check: The check's name.
        text: What was found, in one sentence.
        at: When it was found, ISO 8601 in UTC.
        since: When the episode began, ISO 8601 in UTC.
        episode: Identity of the first failure since it last passed.
        url: Where to look.
        reminder: The how-maniest of ``still failing``.
    """

    kind: str
    state: Literal["failed", "still failing", "recovered"]
    severity: str
    project: str
    asset: str
    check: str
    text: str
    at: str
    since: str
    episode: str
    url: str
    reminder: int = 0

    @property
    def fingerprint(self) -> str:
        """The same for the same occasion, whoever notices it and how often."""
        parts = [self.asset, self.check, self.episode, self.state, self.severity]
        parts.append(str(self.reminder))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    @property
    def title(self) -> str:
        """One line: what, where."""
        return f"{self.project}: {self.check} {self.state} on {self.asset.rpartition('/')[2]}"

    @property
    def line(self) -> str:
        """What, where, why, since when."""
        return f"{self.title}: {self.text or 'no description'} (since {self.since})"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Sender(Protocol):
    """A kind of channel; its file defines ``SENDER``."""

    def send(self, alert: Alert, channel: Any) -> None:
        """Tell.

        Args:
            alert: What to tell.
            channel: The channel's settings.

        Raises:
            Exception: It could not be told; it is tried again later.
        """
        ...
