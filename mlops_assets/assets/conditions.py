"""When Dagster materializes what by itself (declarative automation).

Conditions are immutable, so all assets share the few that there are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import dagster as dg

_AC: Any = dg.AutomationCondition


@cache
def downstream_condition(
    *, refresh: bool = False, partitioned: bool = False
) -> dg.AutomationCondition[Any]:
    """Materialize when something above holds new content, or when the YAML changed.

    With ``refresh`` also when the asset has become older than its freshness policy allows. With
    ``partitioned`` partitions above may be missing: the asset itself says whether it bears that.

    Compared with ``eager()``: an upstream materialization that leaves the data version as it was
    does not count, so unchanged data retrain nothing; and nothing happens below a failed
    blocking check.
    """
    upstream_changed = _AC.any_deps_match(_AC.data_version_changed() | _AC.will_be_requested())
    changed = upstream_changed | _AC.code_version_changed() | _AC.newly_missing()
    trigger = (changed | _became_stale() if refresh else changed).since_last_handled()
    idle = ~_AC.any_deps_in_progress() & ~_AC.in_progress()
    if not partitioned:
        idle &= ~_AC.any_deps_missing()
    condition = trigger & idle & _AC.all_deps_blocking_checks_passed()
    labelled: dg.AutomationCondition[Any] = condition.with_label(
        "new content above, or changed configuration"
    )
    return labelled


@cache
def raw_condition(*, refresh: bool = False) -> dg.AutomationCondition[Any]:
    """Ingest again when the source's part of the YAML changed.

    New data in an unchanged source are noticed by the new-data sensor. With ``refresh`` the source
    is also read again when its copy has become older than its freshness policy allows.
    """
    changed = _AC.code_version_changed()
    trigger = (changed | _became_stale() if refresh else changed).since_last_handled()
    words = "changed configuration, or stale" if refresh else "changed configuration"
    labelled: dg.AutomationCondition[Any] = (trigger & ~_AC.in_progress()).with_label(words)
    return labelled


def _became_stale() -> Any:
    """Once for each time that the freshness policy begins to fail."""
    return _AC.freshness_failed().newly_true()
