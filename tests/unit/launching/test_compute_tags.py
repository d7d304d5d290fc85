"""``compute:`` as tags: what each launcher is told, and nothing where nothing is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._utils.tags import TagConcurrencyLimitsCounter

from mlops_assets.config.compute import ComputeSpec
from mlops_assets.config.loader import load_text
from mlops_assets.config.problems import Problem
from mlops_assets.errors import ConfigError
from mlops_assets.launching.coordinator import combined
from mlops_assets.launching.tags import RUN_TAGS_METADATA, compute_tags, environment_names

INSTANCE = Path(__file__).parents[3] / "deploy/dagster/dagster.yaml"


def tags(**written: Any) -> dict[str, str]:
    return compute_tags(ComputeSpec.model_validate(written))


def test_a_project_that_asks_for_nothing_has_no_tags() -> None:
    assert tags() == {}
    assert tags(launcher="process") == {}


def test_retries_and_timeout_are_dagsters_own_tags() -> None:
    assert tags(max_retries=0, timeout="90m") == {
        "mlops/launcher": "process",
        "dagster/max_retries": "0",
        "dagster/max_runtime": "5400",
    }


def test_kubernetes_gets_requests_that_are_limits() -> None:
    found = tags(launcher="kubernetes", cpu=2, memory="4Gi", gpus=1, image="reg/run:1")
    container = json.loads(found["dagster-k8s/config"])["container_config"]
    amounts = {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert container == {
        "image": "reg/run:1",
        "resources": {"requests": amounts, "limits": amounts},
    }
    assert "mlops/image" not in found


def test_ecs_gets_units_of_its_own() -> None:
    found = tags(launcher="ecs", cpu=0.5, memory="1536Mi", gpus=2, image="reg/run:1")
    assert found["ecs/cpu"] == "512"
    assert found["ecs/memory"] == "1536"
    assert json.loads(found["ecs/container_overrides"]) == {
        "resourceRequirements": [{"type": "GPU", "value": "2"}]
    }
    assert found["mlops/image"] == "reg/run:1"


def test_docker_gets_arguments_of_its_client() -> None:
    found = tags(launcher="docker", cpu=1.5, memory="2Gi")
    assert json.loads(found["mlops/docker"]) == {"nano_cpus": 1_500_000_000, "mem_limit": "2048m"}


def test_variables_are_named_and_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    found = tags(launcher="ecs", environment=["TOKEN", "REGION"])
    assert environment_names(found) == ["TOKEN", "REGION"]
    assert "s3cret" not in json.dumps(found)
    assert environment_names({}) == []


def asset(project: str, team: str = "a", **run_tags: str) -> tuple[dict[str, str], dict[str, Any]]:
    return {"team": team, "project": project}, {RUN_TAGS_METADATA: run_tags} if run_tags else {}


def test_assets_of_one_project_agree() -> None:
    found = combined([asset("x", k="v"), asset("x", k="v")])
    assert found == {"k": "v", "team": "a", "project": "x", "mlops/project": "a/x"}


def test_projects_that_ask_for_the_same_share_a_run_of_their_team() -> None:
    assert combined([asset("x", k="v"), asset("y", k="v")]) == {"k": "v", "mlops/project": "a/*"}
    assert combined([asset("x"), asset("x", "b")]) == {"mlops/project": "*/x"}
    assert combined([asset("x"), ({}, {})]) == {"mlops/project": "a/x"}
    assert combined([({}, {})]) == {}
    assert combined([]) == {}


def test_several_projects_in_one_run_may_take_as_long_as_they_would_alone() -> None:
    timeout = {"dagster/max_runtime": "3600"}
    assert combined([asset("x", **timeout)] * 3)["dagster/max_runtime"] == "3600"
    found = combined([asset("x", **timeout), asset("y", **timeout)])
    assert found["dagster/max_runtime"] == "7200"


def test_teams_with_a_project_of_the_same_name_share_no_limit() -> None:
    limits = yaml.safe_load(INSTANCE.read_text())["concurrency"]["runs"]["tag_concurrency_limits"]
    tags = [combined([asset("churn", team)]) for team in ("alpha", "beta", "gamma", "alpha")]
    tags += [combined([asset("churn", "beta"), asset("fraud", "beta")])] * 3
    runs = [dg.DagsterRun("job", str(number), tags=found) for number, found in enumerate(tags)]
    counter = TagConcurrencyLimitsCounter(limits, [])
    blocked = []
    for run in runs:
        blocked.append(counter.is_blocked(run))
        counter.update_counters_with_launched_item(run)
    assert blocked == [False] * 6 + [True]


def test_projects_that_contradict_each_other_share_no_run() -> None:
    with pytest.raises(ConfigError, match="one project at a time") as caught:
        combined([asset("x", k="v"), asset("y")])
    assert caught.value.found == "a/x, a/y"


@pytest.mark.parametrize(
    ("compute", "path", "words"),
    [
        ("{cpu: 4}", "compute.cpu", "docker, ecs or kubernetes"),
        ("{environment: [A]}", "compute.environment", "docker, ecs or kubernetes"),
        ("{timeout: 30s}", "compute.timeout", "one minute"),
        ("{launcher: kubernets}", "compute.launcher", "kubernetes"),
        ("{launcher: ecs, memory: 8GB}", "compute.memory", "512Mi or 8Gi"),
        ("{launcher: ecs, environment: [a-b]}", "compute.environment[0]", "capital letters"),
    ],
)
def test_wishes_that_cannot_be_fulfilled_are_refused(compute: str, path: str, words: str) -> None:
    (problem,) = problems(f"  compute: {compute}\n")
    assert problem.path == path
    assert words in problem.expected


def test_a_gpu_and_a_training_on_the_cpu_contradict_each_other() -> None:
    (problem,) = problems("  compute: {gpus: 1}\n  training: {devices: cpu}\n")
    assert problem.path == "compute.gpus"
    assert problems("  compute: {gpus: 1}\n") == []


def problems(extra: str) -> list[Problem]:
    body = (
        "type: mlops_assets.MLProject\nattributes:\n  description: x\n  task: binary\n"
        "  sources: {a: {type: files, uri: a}}\n"
        "  features: {query: q.sql, entity: e, time: t, label: {column: y}, "
        "inputs: {numeric: [n]}}\n"
    )
    return load_text((body + extra).encode(), Path("defs.yaml"), {}).problems
