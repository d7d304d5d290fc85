"""A run's worker loads the projects of its run, and everything where that is not sure."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.origin import JobPythonOrigin
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value
from launching_runs import make_run

from mlops_assets.config.scaffold import scaffold_project
from mlops_assets.keys import ProjectId
from mlops_assets.launching.worker import ASSET_JOB, project_names, projects_of_this_run

NAMES = ("churn", "fraud", "visits")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    for name in NAMES:
        scaffold_project(tmp_path, ProjectId("shop", name), "binary")
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("instance"))) as opened:
        yield opened


def arguments(instance: dg.DagsterInstance, *keys: str, job: str = ASSET_JOB) -> str:
    """What Dagster tells the worker of a run of these assets."""
    run = make_run(instance, {})
    selection = frozenset(dg.AssetKey(key.split("/")) for key in keys)
    named = run._replace(run_id=run.run_id[::-1], job_name=job, asset_selection=selection)
    instance.add_run(named)
    origin = run.job_code_origin
    assert isinstance(origin, JobPythonOrigin)
    return serialize_value(ExecuteRunArgs(origin, named.run_id, instance.get_ref()))


def loaded(argument: str, answer: Any) -> None:
    """In a process of its own, as Dagster's code server starts it: what is loaded there."""
    import mlops_assets.definitions

    definitions = mlops_assets.definitions.shop
    heavy = {"torch", "pyspark", "great_expectations"} & set(sys.modules)
    keys = {spec.key.path[1] for spec in definitions.resolve_all_asset_specs()}
    answer.put((sorted(keys), sorted(heavy)))


def worker(argument: str) -> tuple[list[str], list[str]]:
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=loaded, args=[argument, answer])
    process.start()
    try:
        found: tuple[list[str], list[str]] = answer.get(timeout=120)
    finally:
        process.join(30)
    return found


def test_a_worker_loads_its_runs_project_and_nothing_heavy(
    root: Path, instance: dg.DagsterInstance
) -> None:
    argument = arguments(instance, "shop/churn/features", "shop/churn/model")
    assert worker(argument) == (["churn"], [])


def test_a_worker_loads_everything_where_its_projects_are_not_sure(
    root: Path, instance: dg.DagsterInstance
) -> None:
    assert worker("ExecuteRunArgs of another Dagster")[0] == sorted(NAMES)
    assert worker(arguments(instance, "shop/own_asset"))[0] == sorted(NAMES)


def test_a_folder_of_the_teams_own_may_need_every_project(
    root: Path, instance: dg.DagsterInstance
) -> None:
    own = root / "project_configs" / "shop" / "own"
    own.mkdir()
    (own / "definitions.py").write_text("")
    assert worker(arguments(instance, "shop/churn/features"))[0] == sorted(NAMES)


def test_a_container_is_told_on_its_command_line(
    root: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    argument = arguments(instance, "shop/churn/model", "shop/visits/model")
    assert projects_of_this_run("shop") is None
    monkeypatch.setattr(sys, "argv", ["dagster", "api", "execute_run", argument])
    assert projects_of_this_run("shop") == {"churn", "visits"}
    assert projects_of_this_run("other") is None


def test_a_job_of_the_teams_own_is_loaded_with_everything(
    root: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    argument = arguments(instance, "shop/churn/model", job="nightly")
    monkeypatch.setattr(sys, "argv", ["dagster", "api", "execute_run", argument])
    assert projects_of_this_run("shop") is None


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["shop/churn/model", "shop/churn/raw/visits"], {"churn"}),
        (["shop/churn/model", "shop/fraud/model"], {"churn", "fraud"}),
        (["shop/churn/model", "other/fraud/model"], None),
        (["shop/churn"], None),
        ([], None),
    ],
)
def test_names_of_projects(keys: list[str], names: set[str] | None) -> None:
    assert project_names([dg.AssetKey(key.split("/")) for key in keys], "shop") == names
