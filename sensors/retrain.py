"""The sensor that carries out decisions to retrain."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import dagster as dg

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.keys import DECISION_TAG
from sensors.pace import pace
from sensors.requests import lifecycle_keys, request
from sensors.rounds import RESUME, Round

WILL_RETRY_TAG = "dagster/will_retry"
RETRY_SECONDS = 600.0
"""Dagster starts a dead run again within seconds, or, when its code server is away, never."""
RECENT = 3
"""So many of the newest open decisions are looked at; older ones were overtaken by them."""


def build_retrain_sensor(team: str, projects: Sequence[Project]) -> dg.SensorDefinition:
    """One sensor for the decisions of a team: each is carried out exactly once.

    A decision is open until its run has left an outcome. A run that failed before it could leave
    one is noted as failed here, which makes the policy back off.

    Its cursor holds which records a project without an open decision had: they are never changed,
    so that nothing is read again until there is another.
    """

    @dg.sensor(
        name=f"{team}__retrain",
        target=dg.AssetSelection.assets(*(k for p in projects for k in lifecycle_keys(p))),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=pace(30),
        description="Retrains, evaluates and deploys when the retrain decision says so.",
    )
    def retrain_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult:
        from mlops_assets.policy.run import decisions_state, open_retrains

        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        store = platform.store()
        requests: list[dg.RunRequest] = []
        waiting: list[str] = []
        turn = Round(projects, lambda project: str(project.id), seen.pop(RESUME, None))
        for project in turn:
            try:
                state = decisions_state(project, store)
                if state == seen.get(str(project.id)):
                    continue
                decisions = open_retrains(project, store)[-RECENT:]
            except MlopsError as error:
                waiting.append(f"{project.id}: {error.problem}")
                continue
            if not decisions:
                seen[str(project.id)] = state
            for decision in decisions:
                name = f"{project.id}:{decision['decision']}"
                goes_on = run_state(context.instance, name)
                if goes_on is None:
                    requests.append(_request(project, decision))
                elif goes_on:
                    waiting.append(f"{name} is being carried out")
                else:
                    _note_failure(project, platform, decision)
                    waiting.append(f"the run of {name} failed")
        cursor = json.dumps(seen | {RESUME: turn.resume}, sort_keys=True)
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=cursor)
        nothing = f"no open decision to retrain in {len(projects)} projects"
        reason = "; ".join([*(waiting or [nothing]), *turn.notes])
        return dg.SensorResult(skip_reason=reason, cursor=cursor)

    return retrain_sensor


def run_state(instance: dg.DagsterInstance, decision: str) -> bool | None:
    """Whether a decision's run goes on (True), has ended (False), or was never started (None).

    A run that Dagster will start again goes on, unless that takes so long that it was given up.
    """
    records = instance.get_run_records(dg.RunsFilter(tags={DECISION_TAG: decision}), limit=1)
    if not records:
        return None
    run, ended = records[0].dagster_run, records[0].end_time
    if not run.is_finished:
        return True
    recently = ended is not None and time.time() - ended < RETRY_SECONDS
    return recently and run.tags.get(WILL_RETRY_TAG) == "true"


def _request(project: Project, decision: dict[str, object]) -> dg.RunRequest:
    name = f"{project.id}:{decision['decision']}"
    return request(
        project,
        lifecycle_keys(project),
        run_key=f"retrain:{name}",
        cause=f"retrain decision: {decision['cause']}",
        tags={DECISION_TAG: name},
    )


def _note_failure(
    project: Project, platform: PlatformResource, decision: dict[str, object]
) -> None:
    from mlops_assets.policy.run import record_outcome

    name = str(decision["decision"])
    record_outcome(project, platform.store(), name, "failed", "its run ended without a verdict")
