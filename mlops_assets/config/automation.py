"""``automation:`` what happens by itself, and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mlops_assets.config.base import Duration, Spec
from mlops_assets.config.problems import FieldProblem, FieldProblems, show

DAY = timedelta(days=1)
_CRON_FIELDS = 5


def _as_cron(value: object) -> object:
    """Refuse what Dagster takes for no schedule: other than five fields, or no time at all.

    Raises:
        FieldProblems: The value is no cron expression, or none that ever fires.
    """
    from croniter import CroniterBadDateError, CroniterError, croniter

    expected = 'five cron fields, such as "0 3 * * 1" (Mondays at 03:00 UTC)'
    try:
        if isinstance(value, str) and len(croniter.expand(value)[0]) == _CRON_FIELDS:
            croniter(value, datetime.now(UTC)).get_next()
            return value
    except CroniterBadDateError:
        expected = "a day that some month has"
    except CroniterError:
        pass
    raise FieldProblems([FieldProblem((), show(value), expected)])


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
