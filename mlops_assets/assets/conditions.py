"""When Dagster materializes what by itself (declarative automation)."""

from __future__ import annotations

from typing import Any

import dagster as dg

_AC: Any = dg.AutomationCondition


def downstream_condition() -> dg.AutomationCondition[Any]:
    """Materialize when something above holds new content, or when the YAML changed.

    Compared with ``eager()``: an upstream materialization that leaves the data version as it was
    does not count, so unchanged data retrain nothing; and nothing happens below a failed
    blocking check.
    """
    upstream_changed = _AC.any_deps_match(_AC.data_version_changed() | _AC.will_be_requested())
    trigger = (
        upstream_changed | _AC.code_version_changed() | _AC.newly_missing()
    ).since_last_handled()
    idle = ~_AC.any_deps_missing() & ~_AC.any_deps_in_progress() & ~_AC.in_progress()
    condition = trigger & idle & _AC.all_deps_blocking_checks_passed()
    labelled: dg.AutomationCondition[Any] = condition.with_label(
        "new content above, or changed configuration"
    )
    return labelled


def raw_condition() -> dg.AutomationCondition[Any]:
    """Ingest again when the source's part of the YAML changed.

    New data in an unchanged source are noticed by the new-data sensor.
    """
    condition = _AC.code_version_changed().since_last_handled() & ~_AC.in_progress()
    labelled: dg.AutomationCondition[Any] = condition.with_label("changed configuration")
    return labelled
