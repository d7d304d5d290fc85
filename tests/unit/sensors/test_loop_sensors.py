"""Sensors of the way back: what each asks for, under which key, and what it says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import DECISION_TAG, ProjectId
from mlops_assets.monitoring.records import Records
from mlops_assets.policy.run import open_retrains, past_retrains, record_outcome
from resources.ledger import Ledger
from resources.local_store import LocalStore
from resources.manifest import Draft
from resources.store import Store
from sensors.fallback import build_fallback_schedule
from sensors.monitoring import build_monitoring_sensor
from sensors.redeploy import AFTER, attempt_due
from sensors.requests import waits_for_decision
from sensors.retrain import build_retrain_sensor
from sensors.staleness import build_staleness_sensor

BUNDLE = "sha256:one"
START = datetime(2024, 1, 1, tzinfo=UTC)
NAME = "20240101T000000Z"

MakeProject = Callable[..., Project]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    return tmp_path


@pytest.fixture
def platform(root: Path, monkeypatch: pytest.MonkeyPatch) -> PlatformResource:
    monkeypatch.setenv("MLOPS_HOME", str(root / ".mlops"))
    monkeypatch.delenv("MLOPS_STORE_URI", raising=False)
    return PlatformResource(root=str(root))


@pytest.fixture
def store(platform: PlatformResource) -> Store:
    return platform.store()


@pytest.fixture
def make(root: Path) -> MakeProject:
    def make_project(name: str = "churn", **changes: Any) -> Project:
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
            "monitoring": {"inference_log": {"uri": "live"}, "freshness": {"model": "1d"}},
        } | changes
        folder = root / "project_configs" / "shop" / name
        folder.mkdir(parents=True, exist_ok=True)
        spec = ProjectSpec.model_validate(written)
        return Project(ProjectId("shop", name), spec, folder, written)

    return make_project


def tick(
    sensor: dg.SensorDefinition,
    platform: PlatformResource,
    cursor: str | None = None,
    instance: dg.DagsterInstance | None = None,
) -> Any:
    resources = {"platform": platform}
    with (
        dg.DagsterInstance.ephemeral() if instance is None else nullcontext(instance) as chosen,
        dg.build_sensor_context(chosen, cursor=cursor, resources=resources) as context,
    ):
        return sensor.evaluate_tick(context)


def decide(store: Store, project: Project, name: str = NAME, verdict: str = "retrain") -> None:
    window = {"start": START.isoformat(), "end": (START + timedelta(days=1)).isoformat()}
    record = {
        "decision": name,
        "window": window,
        "bundle_id": BUNDLE,
        "verdict": verdict,
        "cause": "drift",
        "reason": "x",
    }
    Records(store, project.id, "decisions").create(name, record)


def promote(store: Store, project: Project, bundle: str = BUNDLE) -> None:
    ledger = Ledger(store, project.id.ledger_prefix)
    head = ledger.state().head
    entry: dict[str, Any] = {"version": 1, "bundle_id": bundle, "run_id": "x", "reason": "x"}
    ledger.append("deploy", **entry, expected_head=head)
    ledger.append("promote", **entry, expected_head=head + 1)


def publish(store: Store, collection: str, **metadata: Any) -> None:
    with store.staging(collection) as staged:
        (staged / "x").write_text("x")
        store.publish(collection, staged, Draft(data_version=BUNDLE, metadata=metadata))


class TestMonitoring:
    def test_new_files_start_one_run_and_the_same_files_none(
        self, make: MakeProject, platform: PlatformResource
    ) -> None:
        project, quiet = make(), make("quiet")
        sensor = build_monitoring_sensor("shop", [project, quiet])
        assert "no new files of 2 projects" in tick(sensor, platform).skip_message
        (project.directory / "live").mkdir()
        (project.directory / "live" / "a.parquet").write_bytes(b"x")
        first = tick(sensor, platform)
        (request,) = first.run_requests
        assert [key.path[-1] for key in request.asset_selection] == [
            "inference_log",
            "monitoring",
            "retrain_decision",
        ]
        assert not tick(sensor, platform, first.cursor).run_requests
        # A daemon that was killed before it kept the cursor asks again, under the same key.
        assert tick(sensor, platform).run_requests[0].run_key == request.run_key

    def test_hidden_files_are_not_there_yet(
        self, make: MakeProject, platform: PlatformResource
    ) -> None:
        project = make()
        (project.directory / "live").mkdir()
        (project.directory / "live" / ".a.parquet").write_bytes(b"x")
        assert not tick(build_monitoring_sensor("shop", [project]), platform).run_requests


class TestRetrain:
    def test_a_decision_is_carried_out_once(
        self, make: MakeProject, platform: PlatformResource, store: Store
    ) -> None:
        project = make()
        sensor = build_retrain_sensor("shop", [project])
        assert "no open decision" in tick(sensor, platform).skip_message
        decide(store, project, verdict="wait")
        assert not tick(sensor, platform).run_requests
        decide(store, project, "20240102T000000Z")
        (request,) = tick(sensor, platform).run_requests
        assert request.run_key == "retrain:shop/churn:20240102T000000Z"
        assert [key.path[-1] for key in request.asset_selection][-1] == "deployment"
        record_outcome(project, store, "20240102T000000Z", "promoted", "x")
        assert not tick(sensor, platform).run_requests

    def test_a_run_that_ends_without_an_outcome_counts_as_failed(
        self,
        make: MakeProject,
        platform: PlatformResource,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        project = make()
        decide(store, project)
        tags = {DECISION_TAG: f"{project.id}:{NAME}"}
        sensor = build_retrain_sensor("shop", [project])
        with dg.DagsterInstance.local_temp() as instance:
            run = instance.create_run_for_job(empty_job, tags=tags)
            going = tick(sensor, platform, instance=instance)
            assert "is being carried out" in going.skip_message
            instance.report_run_failed(run)
            instance.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
            again = tick(sensor, platform, instance=instance)
            assert "is being carried out" in again.skip_message  # Dagster starts it once more
            monkeypatch.setattr("sensors.retrain.RETRY_SECONDS", 0)  # it never did
            ended = tick(sensor, platform, instance=instance)
            assert "failed" in ended.skip_message
        assert [item.outcome for item in past_retrains(project, store)] == ["failed"]
        assert open_retrains(project, store) == []


@dg.job
def empty_job() -> None: ...


class TestStaleness:
    def test_a_model_that_is_too_old_is_retrained_once_for_each_period(
        self,
        make: MakeProject,
        platform: PlatformResource,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        project = make()
        sensor = build_staleness_sensor("shop", [project])
        assert "fresh" in tick(sensor, platform).skip_message  # nothing trained yet
        publish(store, project.id.bundles_collection)
        assert "fresh" in tick(sensor, platform).skip_message
        keys = []
        for hours in (25, 30, 49):
            moment = datetime.now(UTC) + timedelta(hours=hours)
            monkeypatch.setattr("sensors.staleness.datetime", frozen(moment))
            (request,) = tick(sensor, platform).run_requests
            keys.append(request.run_key)
        assert keys[0] == keys[1] != keys[2]


def frozen(moment: datetime) -> Any:
    class Frozen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return moment

    return Frozen


class TestRedeploy:
    def due(self, project: Project, platform: PlatformResource, after: timedelta) -> str | None:
        return attempt_due(project, platform, datetime.now(UTC) + after)

    def test_an_accepted_model_that_never_went_live_is_tried_a_bounded_number_of_times(
        self, make: MakeProject, platform: PlatformResource, store: Store
    ) -> None:
        project = make()
        assert self.due(project, platform, AFTER[-1]) is None
        publish(store, project.id.evaluations_collection, verdict="promote", bundle_id=BUNDLE)
        assert self.due(project, platform, timedelta(0)) is None
        assert self.due(project, platform, AFTER[0]) == "1:1"
        assert self.due(project, platform, AFTER[1]) == "1:2"
        assert self.due(project, platform, timedelta(days=365)) == f"1:{len(AFTER)}"

    @pytest.mark.parametrize("action", ["promote", "quarantine"])
    def test_what_is_live_or_was_refused_is_left_alone(
        self, make: MakeProject, platform: PlatformResource, store: Store, action: Any
    ) -> None:
        project = make()
        publish(store, project.id.evaluations_collection, verdict="promote", bundle_id=BUNDLE)
        ledger = Ledger(store, project.id.ledger_prefix)
        entry: dict[str, Any] = {"version": 1, "bundle_id": BUNDLE, "run_id": "", "reason": ""}
        ledger.append("deploy", **entry, expected_head=0)
        ledger.append(action, **entry, expected_head=1)
        assert self.due(project, platform, AFTER[-1]) is None

    def test_nothing_is_deployed_over_a_rollback(
        self, make: MakeProject, platform: PlatformResource, store: Store
    ) -> None:
        project = make()
        promote(store, project, "sha256:before")
        publish(store, project.id.evaluations_collection, verdict="promote", bundle_id=BUNDLE)
        Ledger(store, project.id.ledger_prefix).append(
            "rollback",
            version=1,
            bundle_id="sha256:before",
            run_id="",
            reason="",
            expected_head=2,
        )
        assert self.due(project, platform, AFTER[-1]) is None

    def test_a_rejected_model_is_never_deployed(
        self, make: MakeProject, platform: PlatformResource, store: Store
    ) -> None:
        project = make()
        publish(store, project.id.evaluations_collection, verdict="reject", bundle_id=BUNDLE)
        assert self.due(project, platform, AFTER[-1]) is None


def test_new_data_alone_retrain_a_live_model_only_where_that_is_wanted(
    make: MakeProject, platform: PlatformResource, store: Store
) -> None:
    deciding = make()
    by_data = make("other", automation={"retrain_on": "new_data"})
    assert not waits_for_decision(deciding, platform.store())  # the first model needs no decision
    promote(store, deciding)
    promote(store, by_data)
    assert waits_for_decision(deciding, platform.store())
    assert not waits_for_decision(by_data, platform.store())


def test_the_fallback_fires_only_when_nothing_else_did(
    make: MakeProject, platform: PlatformResource, store: Store
) -> None:
    project = make()
    schedule = build_fallback_schedule(project, "0 3 * * 1")

    def fire(moment: datetime) -> Any:
        context = dg.build_schedule_context(
            scheduled_execution_time=moment, resources={"platform": platform}
        )
        return schedule.evaluate_tick(context)

    now = datetime.now(UTC)
    monday = (now + timedelta(days=(7 - now.weekday()) % 7 or 7)).replace(
        hour=3, minute=0, second=0, microsecond=0
    )
    (request,) = fire(monday).run_requests
    assert request.run_key.startswith("fallback:shop/churn:")
    assert request.tags["mlops/project"] == "shop/churn"
    publish(store, project.id.bundles_collection)
    assert "a model was trained" in fire(monday).skip_message
    assert fire(monday + timedelta(days=14)).run_requests


def test_the_store_is_where_the_platform_says(store: Store) -> None:
    assert isinstance(store, LocalStore)
