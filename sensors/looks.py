"""What the landing sensor remembers of each growing source from one look to the next."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorType, SensorInstigatorData

from sensors.repeats import AFTER

SENSOR = "__landing"
"""How the names of landing sensors end, after the team's."""
PATIENCE = 3
"""A source that cannot be looked at so often in a row is told of: a short outage is not."""

_FORGOTTEN = 4 * AFTER[-1]


@dataclass
class Look:
    """One source, as the sensor saw it last.

    Attributes:
        at: When (POSIX seconds).
        failures: How often in a row, until then, it could not be looked at.
        is_empty: Whether all that was there had been taken.
        waiting: The lag: rows, messages or partitions that were not taken, where it is known.
        since: Since when something has waited (POSIX seconds); 0 while nothing does.
        shown: The lag that was shown last in the UI.
        shown_at: When that was (POSIX seconds).
        asked: How often runs were asked for partitions, and when last; by partition and content.
    """

    at: float = 0.0
    failures: int = 0
    is_empty: bool = True
    waiting: int | None = None
    since: float = 0.0
    shown: int = 0
    shown_at: float = 0.0
    asked: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def is_away(self) -> bool:
        """Whether the source could not be looked at for a while."""
        return self.failures >= PATIENCE

    @property
    def oldest_wait(self) -> float:
        """How long, in seconds, something had waited that was not taken."""
        return max(0.0, self.at - self.since) if self.since else 0.0

    @property
    def starts(self) -> set[str]:
        """Starts of the partitions that runs were asked for."""
        return {part.partition(":")[0] for part in self.asked}

    def saw(self, waiting: int | None, last: float) -> None:
        """Remember what a look found.

        Args:
            waiting: What waits.
            last: When the newest slice was taken (POSIX seconds), 0 if unknown: what waits now
                was not there then, or the source grows faster than it is taken.
        """
        self.waiting = waiting
        self.since = max(self.since or self.at, last) if waiting else 0.0

    def is_to_show(self, every: timedelta) -> bool:
        """Whether the lag doubled, halved, came or went since it was shown, not just now."""
        if self.waiting is None or self.at - self.shown_at < every.total_seconds():
            return False
        low, high = sorted((self.shown, self.waiting))
        return high > low and high >= 2 * low

    def may_ask(self, parts: Collection[str], now: float) -> bool:
        """Whether one of the partitions was never asked for with its content, or is due again.

        Each time they wait longer, as :data:`sensors.repeats.AFTER` says; in the end its last
        time, again and again, so that a source that is repaired outside is taken by itself.
        """
        return any(self._is_due(part, now) for part in parts)

    def note(self, parts: Collection[str], now: float) -> None:
        """Remember that a run is asked for, and forget what was asked for long ago."""
        kept = {p: a for p, a in self.asked.items() if now - a[1] < _seconds(_FORGOTTEN)}
        times = {part: self.asked.get(part, (0, 0.0))[0] + 1 for part in parts}
        self.asked = kept | {part: (count, now) for part, count in times.items()}

    def _is_due(self, part: str, now: float) -> bool:
        count, last = self.asked.get(part, (0, 0.0))
        return not count or now - last >= _seconds(AFTER[min(count, len(AFTER)) - 1])


def read_looks(cursor: str | None) -> dict[str, Look]:
    """What a cursor holds, by source; a source of another version's cursor is looked at anew."""
    written: Mapping[str, object] = json.loads(cursor) if cursor else {}
    names = {part.name for part in fields(Look)}
    return {
        source: Look(**{name: value for name, value in known.items() if name in names})
        for source, known in written.items()
        if isinstance(known, dict)
    }


def write_looks(looks: Mapping[str, Look]) -> str:
    """A cursor."""
    return json.dumps({source: asdict(look) for source, look in looks.items()}, sort_keys=True)


def looks_of(instance: dg.DagsterInstance) -> dict[str, Look]:
    """What the landing sensors of an instance saw last, by ``team/project/source``."""
    found: dict[str, Look] = {}
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        data = state.instigator_data
        if not state.instigator_name.endswith(SENSOR) or not isinstance(data, SensorInstigatorData):
            continue
        for source, look in read_looks(data.cursor).items():
            if source not in found or look.at > found[source].at:
                found[source] = look
    return found


def _seconds(length: timedelta) -> float:
    return length.total_seconds()
