"""Whether a run takes longer than it may, as Dagster's run monitoring counts it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG

if TYPE_CHECKING:
    import dagster as dg

MAX_RUNTIME_TAGS = (MAX_RUNTIME_SECONDS_TAG, "dagster/max_runtime_seconds")
"""Both are Dagster's; the first one wins."""


def is_over_time(record: dg.RunRecord, instance_seconds: float) -> bool:
    """Whether run monitoring stops this run, if nobody else does.

    Dagster starts a run that it stopped for its time again, as if its worker had died: it would
    take as long once more.

    Args:
        record: The run.
        instance_seconds: Limit of runs that have none of their own; 0 means no limit.
    """
    tags = record.dagster_run.tags
    text = next((tags[name] for name in MAX_RUNTIME_TAGS if name in tags), None)
    try:
        limit = float(text) if text else float(instance_seconds)
    except ValueError:
        return False
    return bool(limit and record.start_time and time.time() - record.start_time > limit)
