"""``automation:`` what happens by itself, and how often."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mlops_assets.config.base import Duration, Spec

DAY = timedelta(days=1)


def _as_cron(value: object) -> object:
    """Refuse what no cron library reads.

    Raises:
        ValueError: The text is no cron expression.
    """
    from croniter import croniter

    if isinstance(value, str) and not croniter.is_valid(value):
        raise ValueError('expected five cron fields, such as "0 3 * * 1" (Mondays at 03:00 UTC)')
    return value


Cron = Annotated[str, BeforeValidator(_as_cron)]


class AutomationSpec(Spec):
    """What happens by itself."""

    enabled: bool = True
    """Data, decisions and schedules start runs without anybody's help."""
    retrain_on: Literal["new_data", "decision"] | None = None
    """What retrains a live model: any new source data, or a decision about drift and performance.
    By default ``decision`` where an inference log is declared, else ``new_data``. The first model
    is always trained on the first data."""
    cooldown: Duration = DAY
    """No second retrain within this time after one, whatever the evidence."""
    max_retrains_per_week: int = Field(default=5, ge=1, le=1000)
    """Budget in any seven days."""
    fallback_schedule: Cron | None = None
    """Cron expression (UTC): retrain then, unless something else did since the time before."""
