"""What the landing sensor says of a source that stays away, loses data, or falls behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.assets import gaps
from mlops_assets.assets.landing import build_landing_asset
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import SourceError
from mlops_assets.keys import ProjectId
from mlops_assets.sources import registry
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.incremental import Plan, Slice, Written
from mlops_assets.sources.kafka_plan import plan_topic
from mlops_assets.sources.landing import land
from resources.local_store import LocalStore
from sensors import landing
from sensors.alerts import build_alerts_sensor
from sensors.landing import build_landing_sensor
from sensors.looks import read_looks

KEY = dg.AssetKey(["shop", "churn", "landing", "orders"])


class Topic:
    """A topic with real plans, whose broker is in memory."""

    def __init__(self) -> None:
        self.marks = {0: (0, 0)}
        self.is_away = False
        self.answers = threading.Event()
        self.answers.set()

    def plan(self, spec: Any, taken: Mapping[str, Slice], context: SourceContext) -> Plan:
        assert self.answers.wait(60)
        if self.is_away:
            raise SourceError("the broker does not answer", where=context.where, found="no route")
        return plan_topic(spec, taken, self.marks, context.where, datetime.now(UTC))

    def write(self, spec: Any, part: Slice, folder: Path, context: SourceContext) -> Written:
        if part.detail.get("skip"):
            return Written(0)
        rows = int(part.end) - int(part.start)
        pq.write_table(pa.table({"id": list(range(rows))}), folder / "part-00000.parquet")
        return Written(rows)

    def show(self, spec: Any, taken: Mapping[str, Slice], context: SourceContext) -> None:
        """Nothing."""


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    found = Topic()
    monkeypatch.setattr(registry, "_incremental", lambda: {"kafka": found})
    return found


def project_of(folder: Path, **source: Any) -> Project:
    orders = {"type": "kafka", "bootstrap_servers": "b:9092", "topic": "orders"}
    written = {
        "description": "x",
        "task": "binary",
        "sources": {"orders": {**orders, "columns": {"id": "bigint"}, **source}},
        "features": {
            "query": "q.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "y"},
            "inputs": {"numeric": ["x"]},
        },
    }
    return Project(ProjectId("shop", "churn"), ProjectSpec.model_validate(written), folder, written)


class World:
    """The sensors of one team, their cursors, and an instance that keeps what they say."""

    def __init__(self, root: Path, store: LocalStore, instance: dg.DagsterInstance) -> None:
        self.store, self.instance = store, instance
        self.resources = {"platform": PlatformResource(root=str(root))}
        self.project = project_of(root)
        self.cursors: dict[str, str | None] = {}

    def look(self, times: int = 1) -> list[dg.SensorResult]:
        """Ticks of the landing sensor; what each leaves in the event log stays there."""
        sensor = build_landing_sensor("shop", [self.project])
        assert sensor is not None
        return [self._tick("landing", sensor) for _ in range(times)]

    def told(self) -> list[str]:
        """One tick of the alerts sensor: what it tells."""
        said = self._tick("alerts", build_alerts_sensor("shop")).skip_message or ""
        return sorted(part.split(": ")[2] for part in said.split("; ") if part.startswith("told"))

    def materialize(self) -> dg.ExecuteInProcessResult:
        """A run of the landing asset."""
        asset = build_landing_asset(self.project, "orders")
        return dg.materialize(
            [asset], resources=self.resources, instance=self.instance, raise_on_error=False
        )

    def _tick(self, name: str, sensor: dg.SensorDefinition) -> Any:
        definitions = dg.Definitions(
            [build_landing_asset(self.project, "orders")], resources=self.resources
        )
        with dg.build_sensor_context(
            self.instance,
            cursor=self.cursors.get(name),
            resources=self.resources,
            repository_def=definitions.get_repository_def(),
        ) as context:
            found = sensor.evaluate_tick(context)
        self.cursors[name] = found.cursor
        for event in found.asset_events:
            self.instance.report_runless_asset_event(event)
        return found


@pytest.fixture
def world(topic: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    (tmp_path / "project_configs" / "shop").mkdir(parents=True)
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    monkeypatch.setenv("MLOPS_STORE_URI", str(tmp_path / "store"))
    monkeypatch.setenv("MLOPS_UI_URL", "https://dagster.example.org/")
    with dg.DagsterInstance.local_temp() as instance:
        yield World(tmp_path, LocalStore(tmp_path / "store"), instance)


def checks(results: list[Any], name: str = "intake") -> list[bool]:
    """Verdicts that sensors gave."""
    events = [event for result in results for event in result.asset_events]
    found = [event for event in events if isinstance(event, dg.AssetCheckEvaluation)]
    return [event.passed for event in found if event.check_name == name]


def test_a_broker_that_stays_away_is_told_once_and_its_return_too(
    world: World, topic: Topic
) -> None:
    topic.is_away = True
    assert checks(world.look(2)) == [], "a short outage is nobody's business"
    assert world.told() == []
    looks = world.look(5)
    assert checks(looks) == [False]
    assert all(look.run_requests == [] for look in looks)
    assert all("the broker does not answer" in str(look.skip_message) for look in looks)
    assert world.told() == ["intake failed on orders"]
    topic.is_away = False
    assert checks(world.look(3)) == [True]
    assert world.told() == ["intake recovered on orders"]


def test_a_broker_that_says_nothing_ends_no_tick(
    world: World, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "LONGEST_SECONDS", 0.5)
    topic.answers.clear()
    try:
        looks = world.look(3)
        assert checks(looks) == [False]
        assert all("does not answer in time" in str(look.skip_message) for look in looks)
    finally:
        topic.answers.set()


def test_a_gap_that_must_not_be_is_told_until_somebody_acts(
    world: World, topic: Topic, tmp_path: Path
) -> None:
    world.project = project_of(tmp_path, on_gap="fail")
    topic.marks = {0: (0, 5)}
    assert world.materialize().success
    topic.marks = {0: (8, 10)}
    looks = world.look(6)
    assert checks(looks) == [False]
    (event,) = [event for look in looks for event in look.asset_events]
    assert event.description == (
        "messages were deleted before they were taken: partition 0, offsets 5 to 7 are gone"
    )
    assert "on_gap: report" in event.metadata["what to do"].value
    assert world.told() == ["intake failed on orders"]
    world.project = project_of(tmp_path, on_gap="report")
    (look,) = world.look()
    assert len(look.run_requests) == 1
    assert checks([look]) == [], "the run will say"
    result = world.materialize()
    verdicts = {event.check_name: event.passed for event in result.get_asset_check_evaluations()}
    assert verdicts == {"no_gaps": False, "no_dead_letters": True, "intake": True}
    assert world.told() == ["intake recovered on orders", "no_gaps failed on orders"]


def test_a_run_that_cannot_take_the_source_is_told(
    world: World, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.marks = {0: (0, 5)}

    def refuse(*_: Any) -> Any:
        raise SourceError("the schema registry is away", found="https://registry")

    with monkeypatch.context() as away:
        away.setattr(topic, "write", refuse)
        result = world.materialize()
        assert not result.success
        (verdict,) = result.get_asset_check_evaluations()
        assert verdict.description == "the schema registry is away: https://registry"
        assert world.told() == ["intake failed on orders"]
        (look,) = world.look()
        assert checks([look]) == [], "it is not over because the broker answers"
        assert len(look.run_requests) == 1
    assert world.materialize().success
    assert world.told() == ["intake recovered on orders"]


def test_a_run_that_died_leaves_no_verdict_and_the_sensor_gives_one(
    world: World, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.is_away = True
    world.look(3)
    assert world.told() == ["intake failed on orders"]
    with monkeypatch.context() as broken:
        broken.setattr(topic, "plan", lambda *_: 1 / 0)
        result = world.materialize()
        assert not result.success
        assert result.get_asset_check_evaluations() == []
    topic.is_away = False
    assert checks(world.look(2)) == [True]
    assert world.told() == ["intake recovered on orders"]


def test_each_loss_is_told_on_its_own(
    world: World, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gap A, runs without one, gap B: two alerts; what was lost before stays in the table."""
    hour = timedelta(hours=1)
    assert hour == gaps.RECENT, "a run that follows at once must not hide a loss from the alerts"
    monkeypatch.setattr(gaps, "RECENT", timedelta())
    told: list[str] = []
    lost = []
    for marks in ((0, 5), (8, 10), (8, 12), (8, 14), (20, 22), (20, 23)):
        topic.marks = {0: marks}
        result = world.materialize()
        (verdict,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "no_gaps"]
        told += world.told()
        lost.append(len(verdict.metadata["gaps"].value.records) if verdict.metadata else 0)
    failed, recovered = "no_gaps failed on orders", "no_gaps recovered on orders"
    assert told == [failed, recovered, failed, recovered]
    assert lost == [0, 1, 1, 1, 2, 2]


def test_a_loss_that_a_killed_run_noticed_is_told_by_the_next(
    world: World, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaps, "RECENT", timedelta())
    topic.marks = {0: (0, 5)}
    world.materialize()
    topic.marks = {0: (8, 10)}
    land(world.project, "orders", world.store)
    world.materialize()
    assert world.told() == ["no_gaps failed on orders"]


def shown(results: list[Any]) -> list[tuple[Any, Any]]:
    """Lag and oldest wait in the observations that sensors made."""
    events = [event for result in results for event in result.asset_events]
    found = [event.metadata for event in events if isinstance(event, dg.AssetObservation)]
    return [(one["lag"].value, one["oldest_wait_seconds"].value) for one in found]


def test_the_lag_is_shown_while_nothing_is_taken(
    world: World, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.marks = {0: (0, 5)}
    first = world.look(3)
    assert shown(first) == [(5, 0)], "not at every look"
    assert all(len(look.run_requests) == 1 for look in first), "nothing takes it"
    topic.marks = {0: (0, 5000)}
    later = datetime.now(UTC) + timedelta(minutes=11)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return later

    monkeypatch.setattr("sensors.landing.datetime", Clock)
    ((lag, wait),) = shown(world.look(2))
    assert lag == 5000
    assert 600 < wait < 900
    look = read_looks(world.cursors["landing"])["shop/churn/orders"]
    assert (look.waiting, round(look.oldest_wait)) == (5000, wait)
    assert world.materialize().success
    world.look()
    look = read_looks(world.cursors["landing"])["shop/churn/orders"]
    assert (look.waiting, look.oldest_wait) == (0, 0.0)
