"""From logged requests of a really trained model to window reports, performance and decisions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlops_assets.backtest.policies import parse_policy
from mlops_assets.backtest.simulation import Simulation
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import ConfigError
from mlops_assets.keys import ProjectId
from mlops_assets.monitoring.maturity import LateLabels
from mlops_assets.monitoring.records import Records
from mlops_assets.monitoring.register import register
from mlops_assets.monitoring.run import MonitoringResult, monitor
from mlops_assets.monitoring.streams import inference_log, labels
from mlops_assets.policy.run import decide_open_windows
from mlops_assets.serving.log_files import write_log_file
from resources.ledger import Ledger
from resources.local_store import LocalStore

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = 42
CHANGE = 30
"""From this day on it is colder, and cold means the opposite."""


def make_project(folder: Path, **monitoring: Any) -> Project:
    written: dict[str, Any] = {
        "description": "x",
        "task": "binary",
        "sources": {"a": {"type": "files", "uri": "a"}},
        "checks": {
            "features": [
                {"type": "expect_column_values_to_be_between", "column": "temp", "max_value": 99},
                {"type": "expect_column_values_to_be_unique", "column": "id"},
            ]
        },
        "features": {
            "query": "q.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "y", "matures_after": "1d"},
            "inputs": {"numeric": ["temp", "wind"], "categorical": ["carrier"]},
        },
        "training": {"epochs": 12, "devices": "cpu"},
        "evaluation": {"split": {"by": "time", "test": "2d"}, "min_rows": 50},
        "monitoring": {
            "inference_log": {"uri": str(folder / "log")},
            "labels": {"uri": str(folder / "labels")},
            "window": {"every": "1d", "min_rows": 100},
            "drift": {"persist": "2 of 2", "multivariate": True},
            "performance": {"max_drop": 0.15},
            **monitoring,
        },
        "automation": {"cooldown": "2d"},
    }
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("team", "name"), spec, folder, written)


def history(per_day: int = 200) -> pa.Table:
    rows = DAYS * per_day
    random = np.random.default_rng(0)
    day = np.repeat(np.arange(DAYS), per_day)
    cold = day >= CHANGE
    temp = random.normal(np.where(cold, -10.0, 10.0), 3)
    wind = random.normal(5, 2, rows)
    carrier = random.choice(["AA", "BB"], rows)
    score = np.where(cold, -(temp + 10), temp - 10) + (carrier == "AA")
    label = random.random(rows) < 1 / (1 + np.exp(-score))
    at = [
        START + int(d) * DAY + timedelta(minutes=int(7 * (n % per_day))) for n, d in enumerate(day)
    ]
    return pa.table(
        {
            "id": [f"v{n}" for n in range(rows)],
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "temp": temp,
            "wind": wind,
            "carrier": carrier,
            "y": label.astype(np.int32),
        }
    )


HISTORY = history()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """A project that lived through the change under its declared policy."""
    folder = tmp_path_factory.mktemp("simulated")
    project = make_project(folder)
    simulation = Simulation(project, HISTORY, parse_policy("declared", project), folder)
    simulation.run(START + 20 * DAY, START + DAYS * DAY, lambda _moment: None)
    return simulation


def records(simulation: Simulation, kind: str) -> dict[int, dict[str, Any]]:
    """Records by day."""
    found = Records(simulation.store, simulation.project.id, kind)
    every = [found.read(name) for name in found.names()]
    return {(datetime.fromisoformat(one["window"]["start"]) - START).days: one for one in every}


class TestALifeUnderThePolicy:
    def test_every_closed_window_has_one_report_and_one_decision(
        self, simulated: Simulation
    ) -> None:
        windows = records(simulated, "windows")
        assert sorted(windows) == list(range(20, DAYS - 1))
        assert sorted(records(simulated, "decisions")) == sorted(windows)
        assert all(report["rows"] == 200 for report in windows.values())

    def test_nothing_happens_before_the_world_changes(self, simulated: Simulation) -> None:
        decisions = records(simulated, "decisions")
        assert {decisions[day]["verdict"] for day in range(20, CHANGE)} == {"wait"}
        drift = records(simulated, "windows")
        assert {drift[day]["drift"]["state"] for day in range(20, CHANGE)} == {"stable"}

    def test_the_change_retrains_and_the_new_model_is_better(self, simulated: Simulation) -> None:
        decisions = records(simulated, "decisions")
        first = min(day for day, one in decisions.items() if one["verdict"] == "retrain")
        assert CHANGE <= first <= CHANGE + 3
        assert simulated.tally.promoted >= 1
        performance = records(simulated, "performance")
        assert performance[CHANGE]["decayed"] is True
        values = {day: one["realised"]["value"] for day, one in performance.items()}
        assert values[CHANGE] < 0.6
        assert values[max(values)] > 0.8

    def test_the_drifted_column_is_named(self, simulated: Simulation) -> None:
        columns = records(simulated, "windows")[CHANGE]["drift"]["columns"]
        states = {column["column"]: column["state"] for column in columns}
        assert states == {"temp": "drifted", "wind": "stable", "carrier": "stable"}
        importance = {column["column"]: column["importance"] for column in columns}
        assert importance["temp"] > importance["carrier"] > importance["wind"]

    def test_a_classifier_tells_the_two_worlds_apart(self, simulated: Simulation) -> None:
        windows = records(simulated, "windows")
        before = windows[CHANGE - 1]["drift"]["multivariate"]
        after = windows[CHANGE]["drift"]["multivariate"]
        assert before["auc"] < 0.6
        assert after["auc"] > 0.95
        assert after["columns"][0] == "temp"

    def test_the_estimate_agrees_as_long_as_the_world_is_the_same(
        self, simulated: Simulation
    ) -> None:
        windows, performance = records(simulated, "windows"), records(simulated, "performance")
        for day in range(20, CHANGE):
            estimate = windows[day]["estimated"]["value"]
            assert abs(estimate - performance[day]["realised"]["value"]) < 0.12

    def test_expectations_about_inputs_are_checked_on_live_inputs(
        self, simulated: Simulation
    ) -> None:
        findings = records(simulated, "windows")[20]["quality"]["findings"]
        assert [one["column"] for one in findings] == ["temp"]  # not the unique entity


@pytest.fixture
def copy(simulated: Simulation, tmp_path: Path) -> tuple[Project, LocalStore]:
    """The same live model, and a log that is still empty."""
    import shutil

    shutil.copytree(simulated.store.root, tmp_path / "store")
    store = LocalStore(tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "team" / "name" / "monitoring")
    for stream in ("inference_log", "labels"):
        shutil.rmtree(tmp_path / "store" / "team" / "name" / stream)
    return make_project(tmp_path), store


def live(project: Project, store: LocalStore, first: int, last: int, **changes: Any) -> pa.Table:
    """Log the requests of some days as the first version's."""
    days = pa.array([(at - START).days for at in HISTORY["at"].to_pylist()])
    rows = HISTORY.filter(pc.and_(pc.greater_equal(days, first), pc.less(days, last)))
    log = pa.table(
        {
            "request_id": rows["id"],
            "time": rows["at"],
            "prediction": pa.array(np.full(rows.num_rows, 0.5)),
            "model_version": pa.array(np.ones(rows.num_rows, np.int64)),
            "temp": rows["temp"],
            "wind": rows["wind"],
            "carrier": rows["carrier"],
        }
    )
    for name, values in changes.items():
        if values is None:
            log = log.drop_columns([name])
        else:
            place = log.column_names.index(name)
            log = log.set_column(place, name, pa.array([values] * rows.num_rows))
    write_log_file(project.directory / "log", log)
    register(project, inference_log(project), store)
    return rows


def deliver(project: Project, store: LocalStore, rows: pa.Table) -> None:
    table = pa.table({"request_id": rows["id"], "y": rows["y"]})
    write_log_file(project.directory / "labels", table)
    stream = labels(project)
    assert stream is not None
    register(project, stream, store)


def look(project: Project, store: LocalStore) -> MonitoringResult:
    return monitor(project, store, now=START + 400 * DAY)


class TestSingleWindows:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"carrier": None}, "missing values in carrier"),
            ({"temp": None}, "missing values in temp"),
            ({"carrier": "ZZ"}, "unseen categories in carrier"),
            ({"temp": 500.0}, "temp"),
        ],
    )
    def test_bad_data_block_and_never_retrain(
        self, copy: tuple[Project, LocalStore], changes: dict[str, Any], said: str
    ) -> None:
        live(*copy, 20, 22, **changes)
        live(*copy, 22, 23)
        look(*copy)
        verdicts = decide_open_windows(*copy)
        assert [one["verdict"] for one in verdicts] == ["blocked", "blocked"]
        assert all(one["cause"] == "bad_data" and said in one["reason"] for one in verdicts)

    def test_too_few_requests_are_insufficient(self, copy: tuple[Project, LocalStore]) -> None:
        project, store = copy
        strict = project.spec.monitoring.window.model_copy(update={"min_rows": 1000})
        monitoring = project.spec.monitoring.model_copy(update={"window": strict})
        project = replace(project, spec=project.spec.model_copy(update={"monitoring": monitoring}))
        champion = Ledger(store, project.id.ledger_prefix).state().champion_version
        live(project, store, 20, 23, model_version=champion)
        look(project, store)
        verdicts = {one["verdict"] for one in decide_open_windows(project, store)}
        assert verdicts == {"insufficient_data"}

    def test_requests_that_no_deployed_version_answered(
        self, copy: tuple[Project, LocalStore]
    ) -> None:
        live(*copy, 20, 22, model_version=99)
        (report,) = look(*copy).reports
        assert (report["version"], report["unknown_version_rows"]) == (None, 200)
        assert decide_open_windows(*copy)[0]["verdict"] == "insufficient_data"

    def test_labels_that_are_late_are_named_and_judged_when_they_come(
        self, copy: tuple[Project, LocalStore]
    ) -> None:
        rows = live(*copy, 20, 23)
        live(*copy, 23, 24)
        deliver(*copy, rows.slice(0, 100))  # half of the first day
        found = look(*copy)
        assert found.performance == []
        assert isinstance(found.late[0], LateLabels)
        assert (found.late[0].labelled, found.late[0].rows) == (100, 200)
        deliver(*copy, rows)
        found = look(*copy)
        assert [one["labelled"] for one in found.performance] == [200, 200]
        assert found.late == []
        assert look(*copy).performance == []

    def test_windows_are_reported_once_and_late_requests_change_nothing(
        self, copy: tuple[Project, LocalStore]
    ) -> None:
        live(*copy, 20, 22)
        before = look(*copy).reports
        live(*copy, 20, 21, temp=0.0)
        assert look(*copy).reports == []
        project, store = copy
        kept = Records(store, project.id, "windows")
        assert [kept.read(name) for name in kept.names()] == before


def test_an_earlier_window_as_the_reference(
    copy: tuple[Project, LocalStore], tmp_path: Path
) -> None:
    _, store = copy
    drift = {"persist": "2 of 2"}
    project = make_project(tmp_path, reference="previous_window", drift=drift)
    live(project, store, 28, 33)
    reports = look(project, store).reports
    states = [report["drift"]["state"] for report in reports]
    # The first has none; then the same world, the change, and the new world twice.
    assert states == ["insufficient", "stable", "drifted", "stable"]
    assert reports[1]["drift"]["reference"].startswith("window 2024-01-29")


class TestPolicies:
    def test_cron_retrains_on_time_and_not_on_evidence(self, tmp_path: Path) -> None:
        project = make_project(tmp_path)
        policy = parse_policy("cron: 0 3 * * *", project)
        simulation = Simulation(project, HISTORY, policy, tmp_path)
        tally = simulation.run(START + 20 * DAY, START + 24 * DAY, lambda _moment: None)
        assert tally.retrains == 4

    def test_never_keeps_the_first_model(self, tmp_path: Path) -> None:
        project = make_project(tmp_path)
        simulation = Simulation(project, HISTORY, parse_policy("never", project), tmp_path)
        tally = simulation.run(START + 28 * DAY, START + 36 * DAY, lambda _moment: None)
        assert (tally.retrains, tally.alarms > 3) == (0, True)

    def test_changes_are_checked_like_the_yaml(self, tmp_path: Path) -> None:
        project = make_project(tmp_path)
        changed = parse_policy("drift.min_share=0.7, cooldown=9d", project)
        assert changed.monitoring.drift.min_share == 0.7
        assert changed.automation.cooldown == 9 * DAY
        for text in ("drift.min_share=2", "drift.min_shar=0.5", "sometimes", "cron: often"):
            with pytest.raises(ConfigError):
                parse_policy(text, project)
