"""Runs of a sensor that failed for a reason that may pass, and when they are asked for again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG, SENSOR_NAME_TAG

from mlops_assets.keys import CAUSE_TAG, PROJECT_TAG

AFTER = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=3), timedelta(hours=12))
"""How long after each failure a run is asked for again; after the last one it is left."""
PASSING = frozenset({"SourceError", "StoreError", "EnvironmentProblemError"})
"""Errors that may be gone later: data, store or machine. Bad data and wrong YAML stay so."""
_WORD = " again "
_KNOWN_DAYS = 2
_MOST = 200


def repeats(
    instance: dg.DagsterInstance, sensor: str, now: datetime, asked: Collection[dg.RunRequest]
) -> Iterator[dg.RunRequest]:
    """Failed runs of a sensor that are due again.

    Only a project's newest run of this sensor is repeated: where another came after it, that one
    has done its work or is at it. Dagster's own retries come first, because they are newer runs.

    Args:
        instance: Where runs are known.
        sensor: The sensor's name.
        now: The present.
        asked: What the sensor asks for anyway; its projects are left out.
    """
    busy = {_project(request.tags) for request in asked}
    failed = instance.get_run_records(
        dg.RunsFilter(
            tags={SENSOR_NAME_TAG: sensor},
            statuses=[dg.DagsterRunStatus.FAILURE],
            updated_after=now - timedelta(days=_KNOWN_DAYS),
        ),
        limit=_MOST,
    )
    for record in failed:
        run = record.dagster_run
        if _project(run.tags) in busy:
            continue
        busy.add(_project(run.tags))
        base, _, number = run.tags.get(RUN_KEY_TAG, "").partition(_WORD)
        attempt = int(number or 0)
        if not base or attempt >= len(AFTER) or record.end_time is None:
            continue
        ended = datetime.fromtimestamp(record.end_time, UTC)
        if now - ended < AFTER[attempt] or not _is_newest(instance, run, sensor):
            continue
        if _may_pass(instance, run.run_id):
            yield _again(run, base, attempt + 1)


def _project(tags: Mapping[str, str]) -> tuple[str, str]:
    return tags.get("team", ""), tags.get("project", "")


def _is_newest(instance: dg.DagsterInstance, run: dg.DagsterRun, sensor: str) -> bool:
    tags = {name: run.tags[name] for name in ("team", "project") if name in run.tags}
    newest = instance.get_run_records(
        dg.RunsFilter(tags={SENSOR_NAME_TAG: sensor, **tags}), limit=1
    )
    return newest[0].dagster_run.run_id == run.run_id


def _may_pass(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether all its failed steps failed for such a reason."""
    kinds = []
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.dagster_event
        told = event.step_failure_data.user_failure_data if event else None
        kinds.append(str(told.metadata["error"].value) if told and "error" in told.metadata else "")
    return bool(kinds) and PASSING.issuperset(kinds)


def _again(run: dg.DagsterRun, base: str, attempt: int) -> dg.RunRequest:
    cause = f"again after a failure, {attempt} of {len(AFTER)} times"
    tags = {name: run.tags[name] for name in ("team", "project", PROJECT_TAG) if name in run.tags}
    return dg.RunRequest(
        run_key=f"{base}{_WORD}{attempt}",
        asset_selection=sorted(run.asset_selection or ()),
        tags={CAUSE_TAG: cause, **tags},
    )
