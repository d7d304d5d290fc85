"""How far growing sources are behind, what they lost and what could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project

if TYPE_CHECKING:
    from resources.store import Store
    from sensors.looks import Look


@dataclass(frozen=True)
class GrowingStatus:
    """One source that is taken in slices.

    Attributes:
        source: Its name.
        lag: Rows, messages or partitions that were waiting at the last look; None while no sensor
            looked, or where the source does not say.
        oldest_wait_seconds: How long something of it had waited by then.
        looked_at: When the sensor looked last (ISO 8601, UTC).
        failed_looks: How often in a row it could not.
        gaps: How often data were lost before they were taken.
        dead_letters: Messages that could not be read and were put aside.
    """

    source: str
    lag: int | None
    oldest_wait_seconds: float | None
    looked_at: str | None
    failed_looks: int
    gaps: int
    dead_letters: int

    @property
    def sentence(self) -> str:
        """For people."""
        if self.looked_at is None:
            seen = "no sensor has looked"
        elif self.failed_looks:
            seen = f"away for {self.failed_looks} looks"
        elif self.lag is None:
            seen = "lag unknown"
        else:
            seen = f"{self.lag:,} waiting"
            seen += f" for {self.oldest_wait_seconds:,.0f} s" if self.lag else ""
        return f"{self.source}: {seen}, {self.gaps:,} gaps, {self.dead_letters:,} dead letters"


def read_growing(
    project: Project, store: Store, looks: Mapping[str, Look]
) -> Iterator[GrowingStatus]:
    """What sensors and store know of a project's growing sources; no source is asked.

    Args:
        project: The project.
        store: Where slices and losses lie.
        looks: What the sensors saw, by ``team/project/source``.
    """
    from mlops_assets.sources.landing import rejected_so_far

    for source in project.spec.growing:
        look = looks.get(f"{project.id}/{source}")
        has_looked = look is not None and look.at > 0
        is_known = look is not None and has_looked and look.waiting is not None
        yield GrowingStatus(
            source=source,
            lag=look.waiting if look else None,
            oldest_wait_seconds=round(look.oldest_wait, 1) if look and is_known else None,
            looked_at=datetime.fromtimestamp(look.at, UTC).isoformat()
            if look and has_looked
            else None,
            failed_looks=look.failures if look else 0,
            gaps=len(store.keys(project.id.gaps_prefix(source))),
            dead_letters=rejected_so_far(project, source, store),
        )
