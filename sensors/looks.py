"""What the landing sensor remembers of each growing source from one look to the next."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta

from sensors.repeats import AFTER

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
        asked: How often runs were asked for partitions, and when last; by partition and content.
    """

    at: float = 0.0
    failures: int = 0
    is_empty: bool = True
    asked: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def is_away(self) -> bool:
        """Whether the source could not be looked at for a while."""
        return self.failures >= PATIENCE

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


def _seconds(length: timedelta) -> float:
    return length.total_seconds()
