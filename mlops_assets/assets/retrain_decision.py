"""The ``retrain_decision`` asset: for every window, whether to retrain and why."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from mlops_assets.assets.metadata import table
from mlops_assets.assets.monitoring import when
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.settings import project_asset
from mlops_assets.assets.versions import code_version
from mlops_assets.config.project import Project
from mlops_assets.keys import NEEDS_PEOPLE_CHECK

SHOWN = 60
EVIDENCE = ("rule", "found", "expected", "met")


def build_retrain_decision_asset(project: Project) -> dg.AssetsDefinition:
    """The asset that applies the retrain policy to the newest reports."""

    key = dg.AssetKey(project.id.retrain_decision_key)

    @project_asset(
        project,
        key.path,
        kinds={"python"},
        deps=[project.id.monitoring_key],
        description="Should the live model be retrained? The verdict on every window, with the "
        "evidence and one sentence why. A verdict `retrain` starts raw data to deployment.",
        code_version=code_version(project, "retrain_decision"),
        condition=None,
        checks=[
            dg.AssetCheckSpec(
                NEEDS_PEOPLE_CHECK, asset=key, description="The policy can go on by itself."
            )
        ],
    )
    def retrain_decision(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from mlops_assets.monitoring.records import Records
        from mlops_assets.policy.run import DECISIONS, decide_open_windows

        store = platform.store()
        made = decide_open_windows(project, store)
        for decision in made:
            context.log.info(f"{decision['decision']}: {decision['verdict']}: {decision['reason']}")
        recent = Records(store, project.id, DECISIONS).last(SHOWN)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(recent[-1]["decision"] if recent else "none"),
            metadata=_metadata(made, recent),
            check_results=[_needs_people(key, made, recent)],
        )

    return retrain_decision


def _needs_people(
    key: dg.AssetKey, made: list[dict[str, Any]], recent: list[dict[str, Any]]
) -> dg.AssetCheckResult:
    shown = _most_important(made) or (recent[-1] if recent else None)
    # Bad data have a check of their own.
    blocked = shown is not None and shown["verdict"] == "blocked" and shown["cause"] != "bad_data"
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=NEEDS_PEOPLE_CHECK,
        passed=not blocked,
        severity=dg.AssetCheckSeverity.ERROR,
        description=shown["reason"] if shown else "no window has closed yet",
    )


def _metadata(made: list[dict[str, Any]], recent: list[dict[str, Any]]) -> dict[str, Any]:
    if not recent:
        return {"verdict": "insufficient_data", "reason": "No window has closed yet."}
    shown = _most_important(made) or recent[-1]
    return {
        "verdict": shown["verdict"],
        "reason": shown["reason"],
        "cause": shown["cause"],
        "window": when(shown),
        "version": shown["version"] if shown["version"] is not None else "none",
        "evidence": table([{name: row[name] for name in EVIDENCE} for row in shown["tests"]]),
        "decisions": table(
            [
                {
                    "window": when(one),
                    "verdict": one["verdict"],
                    "cause": one["cause"],
                    "reason": one["reason"],
                }
                for one in reversed(recent)
            ]
        ),
        "decided_windows": len(made),
    }


def _most_important(made: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A retrain, else what needs people, else the newest."""
    ranks = {"retrain": 2, "blocked": 1}
    return max(reversed(made), key=lambda one: ranks.get(one["verdict"], 0), default=None)
