"""Retrain policies as one writes them on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml
from pydantic import ValidationError

from mlops_assets.config.automation import AutomationSpec
from mlops_assets.config.monitoring import MonitoringSpec
from mlops_assets.config.project import Project
from mlops_assets.errors import ConfigError

EXAMPLES = 'declared, never, "cron: 0 3 * * 1", or "drift.min_share=0.5, performance.max_drop=0.02"'
SECTIONS = ("monitoring", "automation")


@dataclass(frozen=True)
class Policy:
    """When a simulated project retrains.

    Attributes:
        name: As it was written.
        monitoring: Thresholds.
        automation: Bounds.
        decides: Whether evidence starts retrains.
        cron: Times that start retrains, in place of evidence.
    """

    name: str
    monitoring: MonitoringSpec
    automation: AutomationSpec
    decides: bool = True
    cron: str | None = None

    def is_due(self, since: datetime, now: datetime) -> bool:
        """Whether a scheduled time lies in ``(since, now]``."""
        if self.cron is None:
            return False
        from croniter import croniter

        following: datetime = croniter(self.cron, since).get_next(datetime)
        return following <= now


def parse_policy(text: str, project: Project) -> Policy:
    """Read a policy; what it does not name is as the project declares it.

    Raises:
        ConfigError: It is not of a known form, or a value does not fit.
    """
    monitoring, automation = project.spec.monitoring, project.spec.automation
    word = text.strip()
    if word == "declared":
        return Policy(word, monitoring, automation)
    if word == "never":
        return Policy(word, monitoring, automation, decides=False)
    if word.startswith("cron:"):
        cron = word.removeprefix("cron:").strip()
        checked = _validated(text, monitoring, automation, {"automation.fallback_schedule": cron})
        schedule = checked[1].fallback_schedule
        return Policy(word, monitoring, automation, decides=False, cron=schedule)
    changes = {}
    for part in word.split(","):
        path, equals, value = part.strip().partition("=")
        if not equals:
            raise ConfigError("not a policy", where="--policy", found=text, expected=EXAMPLES)
        changes[_full_path(path.strip())] = yaml.safe_load(value)
    return Policy(word, *_validated(text, monitoring, automation, changes))


def _full_path(path: str) -> str:
    """``cooldown`` is under automation, ``drift.…`` under monitoring; both may be written out."""
    if path.split(".", maxsplit=1)[0] in SECTIONS:
        return path
    inside = "automation" if path in AutomationSpec.model_fields else "monitoring"
    return f"{inside}.{path}"


def _validated(
    text: str, monitoring: MonitoringSpec, automation: AutomationSpec, changes: dict[str, Any]
) -> tuple[MonitoringSpec, AutomationSpec]:
    written: dict[str, Any] = {
        "monitoring": monitoring.model_dump(mode="json"),
        "automation": automation.model_dump(mode="json"),
    }
    for path, value in changes.items():
        *parents, last = path.split(".")
        node: dict[str, Any] = written
        for parent in parents:
            child = node.get(parent)
            node = child if isinstance(child, dict) else {}
        node[last] = value
    try:
        return (
            MonitoringSpec.model_validate(written["monitoring"]),
            AutomationSpec.model_validate(written["automation"]),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            "a policy does not fit", where=f"--policy {text}", found=where, expected=first["msg"]
        ) from None
