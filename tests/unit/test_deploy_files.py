"""The files in deploy/ fit the projects, Dagster's own schemas and each other."""

import importlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.ref import InstanceRef

from mlops_assets.cli.lifecycle import open_instance
from mlops_assets.config.discovery import discover
from mlops_assets.config.workspace import render_grpc_workspace
from mlops_assets.launching import ProjectRunCoordinator, TaggedRunLauncher
from mlops_assets.launching.command_line import settle_dead_runs, worker_tag
from mlops_assets.launching.launcher import CLASSES
from resources.settings import Settings
from tests.deploy_files import (
    DEPLOY,
    INSTANCE,
    ROOT,
    compose,
    examples,
    given,
    image_variables,
    needed,
    services,
    variables,
)

DOCUMENTS = ("deploy/README.md", "docs/production.md")

TEAMS = sorted({project.team for project in discover(ROOT)})


def test_the_workspace_is_current() -> None:
    assert TEAMS
    fix = "run: mlops workspace > deploy/dagster/workspace.yaml"
    assert (DEPLOY / "dagster/workspace.yaml").read_text() == render_grpc_workspace(
        TEAMS, "{team}", 4000
    ), fix


def test_every_team_has_its_code_server_and_nobody_else() -> None:
    serving = {
        name: service["command"][2]
        for name, service in services().items()
        if service.get("command", [])[:2] == ["mlops", "code-server"]
    }
    assert serving == {team: team for team in TEAMS}


def test_every_service_is_pinned_watched_and_only_here() -> None:
    assert {"postgres", "webserver", "daemon", *TEAMS} == set(services())
    for name, service in services().items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        image = service["image"]
        assert image.startswith("${MLOPS_IMAGE:?") or re.fullmatch(r"[a-z]+:\d+\.\d+-\w+", image)
    first = (DEPLOY / "Dockerfile").read_text().splitlines()
    (base,) = [line for line in first if line.startswith("FROM")]
    assert re.fullmatch(r"FROM python:3\.11\.\d+-slim-\w+", base)


def test_secrets_have_no_value_and_are_not_in_git() -> None:
    assert variables("postgres.env.example")["DAGSTER_PG_PASSWORD"] == ""
    assert variables("postgres.env.example")["POSTGRES_PASSWORD"] == ""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"deploy/postgres.env", "deploy/mlops.env"} <= set(ignored)


def test_every_variable_of_the_instance_is_given_by_the_services() -> None:
    assert needed()
    assert needed() - given() - image_variables() == set()


def test_documented_commands_have_what_the_compose_file_asks_for() -> None:
    """Compose refuses every command, a back-up too, where one of these is not set."""
    asked = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "docker-compose.yaml").read_text()))
    assert asked == {"MLOPS_IMAGE"}
    assert all(variables(".env.example").get(name) for name in asked)
    assert "deploy/.env" in (ROOT / ".gitignore").read_text().splitlines()
    commands = [
        (document, command)
        for document in DOCUMENTS
        for command in re.findall(r"docker compose [^\n\\]*", (ROOT / document).read_text())
    ]
    assert len(commands) >= 3
    for document, command in commands:
        assert command.startswith("docker compose -f deploy/docker-compose.yaml "), document
        if found := re.search(r" exec -T (\w+)", command):
            assert found[1] in services(), document


def test_the_readme_makes_every_env_file_before_it_starts_anything() -> None:
    text = (ROOT / "deploy/README.md").read_text()
    before = text[: text.index("docker compose -f")]
    files = {path.name.removesuffix(".example") for path in DEPLOY.glob("*.example")}
    files |= {path.name.removesuffix(".example") for path in DEPLOY.glob(".*.example")}
    assert {".env", *services()["daemon"]["env_file"]} == files
    for name in files:
        assert f"cp deploy/{name}.example deploy/{name}" in before


def test_the_docker_example_fits_the_compose_file() -> None:
    config = examples("docker:")["docker"]
    assert config["network"] == compose()["networks"]["default"]["name"]
    (mount,) = services()["daemon"]["volumes"]
    assert config["container_kwargs"]["volumes"] == [f"{compose()['name']}_{mount}"]
    assert {config["image"]["env"], *config["env_vars"]} <= given()


def test_dagster_accepts_the_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\{env: (\w+)\}", INSTANCE):
        monkeypatch.setenv(name, "5432" if name.endswith("PORT") else str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(INSTANCE)
    ref = InstanceRef.from_dir(str(tmp_path))
    assert ref.settings["run_monitoring"]["free_slots_after_run_end_seconds"] == 10
    assert ref.settings["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}
    assert ref.run_launcher_data is not None
    assert ref.run_launcher_data.class_name == "TaggedRunLauncher"


def test_its_examples_are_right_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\{env: (\w+)\}", INSTANCE):
        monkeypatch.setenv(name, "x")
    launchers = examples("docker:")
    switched_on = yaml.safe_load(INSTANCE)["run_launcher"]["config"]["launchers"]
    assert {*launchers, *switched_on} == set(CLASSES)
    for name, config in (launchers | switched_on).items():
        check(*CLASSES[name], config)


def test_logs_go_to_s3_with_what_is_documented_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    logs = examples("compute_logs:")["compute_logs"]
    assert logs["class"] == "S3ComputeLogManager"
    page = (ROOT / "docs/production.md").read_text()
    needed = re.findall(r"'env': '(\w+)'", str(logs["config"]))
    assert needed
    for name in needed:
        assert f"| `{name}` |" in page
        monkeypatch.setenv(name, "x")
    check(logs["module"], logs["class"], logs["config"])


def check(module: str, kind: str, config: Any) -> None:
    """Dagster's own judgement of a class's configuration."""
    schema = getattr(importlib.import_module(module), kind).config_type()
    result = process_config(schema, config)
    assert result.success, result.errors


def test_the_embedded_instance_knows_the_same_pools(tmp_path: Path) -> None:
    settings = replace(Settings.from_environment({}, ROOT), home=tmp_path)
    with open_instance(settings) as instance:
        assert isinstance(instance.run_coordinator, ProjectRunCoordinator)
        assert isinstance(instance.run_launcher, TaggedRunLauncher)
        assert instance.run_launcher.choose({"mlops/launcher": "ecs"}) == "process"
        assert instance.event_log_storage.supports_global_concurrency_limits
        assert instance.global_op_concurrency_default_limit == 1
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 2


def test_a_dead_commands_pool_slot_is_free_for_the_next(tmp_path: Path) -> None:
    """A killed ``mlops run`` must not keep the deployments of everybody else waiting."""
    settings = replace(Settings.from_environment({}, ROOT), home=tmp_path)
    ((name, own),) = worker_tag().items()
    dead = {name: own.rpartition(":")[0] + ":1"}

    @dg.asset(pool="triton_deploy")
    def step(context: dg.AssetExecutionContext) -> None:
        storage = context.instance.event_log_storage
        holders.append(
            [s.run_id for s in storage.get_concurrency_info("triton_deploy").claimed_slots]
        )

    holders: list[list[str]] = []
    with open_instance(settings) as instance:
        lost = instance.create_run_for_job(
            dg.Definitions([step]).resolve_implicit_global_asset_job_def(), tags=dead
        )
        instance.handle_new_event(
            dg.EventLogEntry(
                None,
                "info",
                "",
                lost.run_id,
                0.0,
                dagster_event=dg.DagsterEvent("PIPELINE_START", lost.job_name, message=""),
            )
        )
        instance.event_log_storage.initialize_concurrency_limit_to_default("triton_deploy")
        claim = instance.event_log_storage.claim_concurrency_slot("triton_deploy", lost.run_id, "s")
        assert claim.is_claimed
        assert settle_dead_runs(instance) == [lost.run_id]
        result = dg.materialize([step], instance=instance)
    assert holders == [[result.run_id]]
