"""The check on what a growing source lost: it fails for losses that are new."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.assets.metadata import table
from mlops_assets.keys import GAPS_CHECK

if TYPE_CHECKING:
    from mlops_assets.sources.incremental import Gap

RECENT = timedelta(hours=1)
"""A loss fails the check for so long, also when it was told: alerts look at the newest verdict
only, and an ingestion without losses may follow at once."""
_HISTORY = 50


def last_verdict(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> datetime | None:
    """When a check was last judged; runs that were killed before they judged it do not count."""
    records = instance.event_log_storage.get_asset_check_execution_history(check, limit=_HISTORY)
    for record in records:
        entry = record.event
        event = entry.dagster_event if entry else None
        if entry and event and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            return datetime.fromtimestamp(entry.timestamp, UTC)
    return None


def gaps_check(
    key: dg.AssetKey, gaps: Sequence[Gap], told: datetime | None, now: datetime
) -> dg.AssetCheckResult:
    """Failed for losses that nobody was told of or that are recent; its table shows the newest.

    Args:
        key: The landing asset.
        gaps: Everything that was ever lost, in the order in which it was noticed.
        told: When the check was judged last, if ever.
        now: The present.
    """
    new = [gap for gap in gaps if _is_new(gap, told, now)]
    rows = [
        {
            "series": gap.series,
            "first lost": gap.start,
            "back at": gap.end,
            "noticed": gap.at or "",
            "why": gap.reason,
        }
        for gap in reversed(gaps)
    ]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=GAPS_CHECK,
        passed=not new,
        severity=dg.AssetCheckSeverity.ERROR,
        description=_sentence(gaps, new),
        metadata={"gaps": table(rows)} if rows else {},
    )


def _is_new(gap: Gap, told: datetime | None, now: datetime) -> bool:
    if told is None:
        return True
    return gap.at is not None and datetime.fromisoformat(gap.at) >= min(told, now - RECENT)


def _sentence(gaps: Sequence[Gap], new: Sequence[Gap]) -> str:
    if not gaps:
        return "nothing was lost"
    last = f"{gaps[-1].series} from {gaps[-1].start} to {gaps[-1].end}"
    if new:
        return f"{len(new):,} times data were lost before they were taken, last {last}"
    return f"nothing was lost lately; {len(gaps):,} times in all, last {last}"
