"""``automation:`` and ``monitoring:`` what happens by itself."""

from __future__ import annotations

from mlops_assets.config.base import Duration, Spec


class AutomationSpec(Spec):
    """What happens by itself."""

    enabled: bool = True
    """New source data flow through to deployment without anybody's help."""


class FreshnessSpec(Spec):
    """How old an asset may be before the UI shows it as stale (at least one minute)."""

    raw: Duration | None = None
    """Raw data of every source."""
    features: Duration | None = None
    """The features."""
    model: Duration | None = None
    """The trained model."""


class MonitoringSpec(Spec):
    """What is watched."""

    freshness: FreshnessSpec = FreshnessSpec()
    """Ages that are still fresh."""
