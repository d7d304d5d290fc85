"""The sensor that makes Triton match the deployment ledger again after a restart."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from sensors.pace import pace
from sensors.rounds import Round


def build_reconcile_sensor(team: str, projects: Sequence[Project]) -> dg.SensorDefinition:
    """Asks every champion of the team for one real prediction and repairs what does not answer.

    A server that is away is reported as away; the next tick tries again.
    """

    @dg.sensor(
        name=f"{team}__reconcile",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=pace(60),
        description="Makes the model server match the deployment ledger.",
    )
    def reconcile_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult:
        from mlops_assets.serving.reconcile import reconcile

        turn = Round(projects, lambda project: str(project.id), context.cursor)
        reason = "the model server matches the ledger"
        try:
            corrections = reconcile(turn, store=platform.store(), settings=platform.settings())
        except MlopsError as error:
            context.log.warning(str(error))
            reason, corrections = f"the model server could not be reconciled: {error.problem}", []
        for correction in corrections:
            context.log.warning(str(correction))
        if corrections:
            reason = "repaired: " + "; ".join(str(c) for c in corrections)
        return dg.SensorResult(skip_reason="; ".join([reason, *turn.notes]), cursor=turn.resume)

    return reconcile_sensor
