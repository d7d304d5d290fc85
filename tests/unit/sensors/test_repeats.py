"""Runs that failed for a reason that may pass are asked for again, a bounded number of times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.storage.tags import RUN_KEY_TAG, SENSOR_NAME_TAG

from mlops_assets.assets.failures import reported
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import MlopsError, QualityError, StoreError
from mlops_assets.keys import ProjectId
from sensors.repeats import AFTER, repeats

SENSOR = "shop__new_data"
KEY = "new-data:shop/churn:a:1:sha256"
SECOND = timedelta(seconds=1)
AWAY = StoreError("S3 does not answer", where="s3://bucket")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def project(tmp_path) -> Project:
    written = {
        "description": "x",
        "task": "binary",
        "sources": {"a": {"type": "files", "uri": "a"}},
        "features": {
            "query": "q.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "y"},
            "inputs": {"numeric": ["temp"]},
        },
    }
    return Project(
        ProjectId("shop", "churn"), ProjectSpec.model_validate(written), tmp_path, written
    )


def run(
    instance: dg.DagsterInstance,
    project: Project,
    error: Exception | None,
    *,
    key: str | None = KEY,
    sensor: str = SENSOR,
) -> datetime:
    """A real run that ends so; when it ended."""

    @dg.asset(key=["shop", "churn", "raw", "a"])
    def raw() -> None:
        with reported(project):
            if error is not None:
                raise error

    tags = {SENSOR_NAME_TAG: sensor, **ProjectId("shop", "churn").run_tags}
    tags |= {RUN_KEY_TAG: key} if key else {}
    job = dg.define_asset_job("all").resolve(
        asset_graph=dg.Definitions(assets=[raw]).resolve_asset_graph()
    )
    done = job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags=tags,
        asset_selection=[dg.AssetKey(["shop", "churn", "raw", "a"])],
    )
    assert done.success is (error is None)
    record = instance.get_run_record_by_id(done.run_id)
    assert record is not None and record.end_time is not None
    return datetime.fromtimestamp(record.end_time, UTC)


def due(
    instance: dg.DagsterInstance, now: datetime, asked: list[dg.RunRequest] | None = None
) -> list[dg.RunRequest]:
    return list(repeats(instance, SENSOR, now, asked or []))


def test_a_run_is_asked_for_again_after_its_time(
    instance: dg.DagsterInstance, project: Project
) -> None:
    ended = run(instance, project, AWAY)
    assert due(instance, ended + AFTER[0] - SECOND) == []
    (request,) = due(instance, ended + AFTER[0] + SECOND)
    assert request.run_key == f"{KEY} again 1"
    assert request.asset_selection == [dg.AssetKey(["shop", "churn", "raw", "a"])]
    assert request.tags["project"] == "churn"
    assert request.tags["mlops/project"] == "shop/churn"
    assert "1 of 4" in request.tags["mlops/cause"]


def test_it_is_asked_for_as_often_as_there_are_times_and_no_more(
    instance: dg.DagsterInstance, project: Project
) -> None:
    key = KEY
    for wait in AFTER:
        ended = run(instance, project, AWAY, key=key)
        assert due(instance, ended + wait - SECOND) == []
        (request,) = due(instance, ended + wait + SECOND)
        assert request.run_key is not None
        key = request.run_key
    ended = run(instance, project, AWAY, key=key)
    assert due(instance, ended + AFTER[-1] + SECOND) == []


@pytest.mark.parametrize("error", [QualityError("bad data"), ValueError("a bug"), None])
def test_what_would_fail_again_is_left(
    error: MlopsError | None, instance: dg.DagsterInstance, project: Project
) -> None:
    ended = run(instance, project, error)
    assert due(instance, ended + AFTER[0] + SECOND) == []


def test_a_later_run_of_the_project_has_done_its_work(
    instance: dg.DagsterInstance, project: Project
) -> None:
    run(instance, project, AWAY)
    ended = run(instance, project, None, key=f"{KEY} again 1")
    assert due(instance, ended + AFTER[0] + SECOND) == []


def test_a_project_that_is_asked_for_anyway_is_left(
    instance: dg.DagsterInstance, project: Project
) -> None:
    ended = run(instance, project, AWAY)
    asked = [dg.RunRequest(run_key="new", tags={"team": "shop", "project": "churn"})]
    assert due(instance, ended + AFTER[0] + SECOND, asked) == []


def test_runs_of_people_and_of_other_sensors_are_theirs(
    instance: dg.DagsterInstance, project: Project
) -> None:
    run(instance, project, AWAY, sensor="shop__other")
    ended = run(instance, project, AWAY, key=None)
    assert due(instance, ended + AFTER[0] + SECOND) == []
