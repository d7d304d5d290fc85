"""What ECS, Kubernetes and Docker are sent, by Dagster's own launchers and the real clients."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import dagster as dg
import pytest
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.test_utils import instance_for_test
from launching_runs import make_run
from moto import mock_aws

from mlops_assets.config.compute import ComputeSpec
from mlops_assets.launching import TaggedRunLauncher
from mlops_assets.launching.tags import compute_tags
from tests.deploy_files import examples, image_variables, needed

WISH = {"cpu": 2, "memory": "4Gi", "gpus": 1, "environment": ["STORE"], "image": "reg/run:2"}


def tags(launcher: str, **other: Any) -> dict[str, str]:
    return compute_tags(ComputeSpec.model_validate({"launcher": launcher, **WISH, **other}))


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE", "s3://bucket")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


def with_launcher(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "run_launcher": {
            "module": "mlops_assets.launching",
            "class": "TaggedRunLauncher",
            "config": {"launchers": {name: config}},
        }
    }


def the(instance: dg.DagsterInstance) -> TaggedRunLauncher:
    assert isinstance(instance.run_launcher, TaggedRunLauncher)
    return instance.run_launcher


@pytest.fixture
def cluster(variables: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """AWS's interface without AWS: a cluster that takes Fargate tasks."""
    # moto adds up memory by container only, where Fargate has it by task; nothing depends on it.
    name = "moto.ecs.models.EC2ContainerServiceBackend._calculate_task_resource_requirements"
    monkeypatch.setattr(name, lambda *_: {"CPU": 0, "MEMORY": 0, "PORTS": [], "PORTS_UDP": []})
    with mock_aws():
        ecs = boto3.client("ecs")
        ecs.create_cluster(clusterName="mlops")
        yield ecs


def subnet() -> str:
    found = boto3.client("ec2").describe_subnets()["Subnets"]
    return str(found[0]["SubnetId"])


def test_ecs_starts_and_stops_a_task_with_the_projects_resources(cluster: Any) -> None:
    network = {"awsvpcConfiguration": {"subnets": [subnet()], "securityGroups": []}}
    config = {
        "container_name": "run",
        "use_current_ecs_task_config": False,
        "task_definition": {"execution_role_arn": "arn:aws:iam::123456789012:role/run"},
        "run_task_kwargs": {
            "cluster": "mlops",
            "launchType": "FARGATE",
            "networkConfiguration": network,
        },
    }
    with instance_for_test(overrides=with_launcher("ecs", config)) as instance:
        run = make_run(instance, tags("ecs"))
        the(instance).launch_run(LaunchRunContext(run, None))
        launched = instance.get_run_by_id(run.run_id)
        assert launched is not None
        (task,) = cluster.describe_tasks(cluster="mlops", tasks=[launched.tags["ecs/task_arn"]])[
            "tasks"
        ]
        assert the(instance).terminate(run.run_id)
        (after,) = cluster.describe_tasks(cluster="mlops", tasks=[task["taskArn"]])["tasks"]
    assert task["overrides"]["cpu"] == "2048"
    assert task["overrides"]["memory"] == "4096"
    (container,) = task["overrides"]["containerOverrides"]
    assert container["name"] == "run"
    assert container["cpu"] == 2048
    assert container["resourceRequirements"] == [{"type": "GPU", "value": "1"}]
    definition = cluster.describe_task_definition(taskDefinition=task["taskDefinitionArn"])
    (described,) = definition["taskDefinition"]["containerDefinitions"]
    assert described["image"] == "reg/run:2"
    assert {"name": "STORE", "value": "s3://bucket"} in described["environment"]
    assert launched.tags["mlops/launched_by"] == "ecs"
    assert after["lastStatus"] == "STOPPED"


class Recorder(BaseHTTPRequestHandler):
    """The few answers that the real clients of Docker and Kubernetes need to go on."""

    requests: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def do_GET(self) -> None:
        self._answer({"ApiVersion": "1.44", "Id": "c1", "State": {"Status": "created"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.requests.append((self.path, json.loads(body or b"{}")))
        self._answer({"Id": "c1", "Warnings": []})

    def _answer(self, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(Recorder, "requests", [])
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def kubeconfig(path: Path, port: int) -> str:
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {"token": "t"}}]
    config = {"clusters": [cluster], "contexts": [context], "users": users, "current-context": "x"}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}))
    return str(path)


def test_kubernetes_is_sent_a_job_with_the_projects_resources(
    variables: None, recorder: int, tmp_path: Path
) -> None:
    config = {
        "job_image": "reg/other:1",
        "job_namespace": "mlops",
        "service_account_name": "dagster",
        "dagster_home": "/opt/dagster",
        "instance_config_map": "dagster-instance",
        "load_incluster_config": False,
        "kubeconfig_file": kubeconfig(tmp_path / "kube", recorder),
    }
    with instance_for_test(overrides=with_launcher("kubernetes", config)) as instance:
        run = make_run(instance, tags("kubernetes"), image=None)
        the(instance).launch_run(LaunchRunContext(run, None))
    ((path, job),) = Recorder.requests
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    amounts = {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert path == "/apis/batch/v1/namespaces/mlops/jobs"
    assert container["image"] == "reg/run:2"
    assert container["resources"] == {"limits": amounts, "requests": amounts}
    assert {"name": "STORE", "value": "s3://bucket"} in container["env"]
    assert pod["serviceAccountName"] == "dagster"


def test_docker_is_sent_a_container_with_the_projects_resources(
    variables: None, recorder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{recorder}")
    config = {"image": "reg/other:1", "network": "mlops", "env_vars": ["MODE=prod"]}
    with instance_for_test(overrides=with_launcher("docker", config)) as instance:
        run = make_run(instance, tags("docker"), image=None)
        the(instance).launch_run(LaunchRunContext(run, None))
        launched = instance.get_run_by_id(run.run_id)
    assert launched is not None
    assert launched.tags["mlops/launched_by"] == "docker"
    assert launched.tags["docker/container_id"] == "c1"
    (create, body), (start, _) = Recorder.requests
    assert create.endswith("/containers/create")
    assert start.endswith("/containers/c1/start")
    assert body["Image"] == "reg/run:2"
    assert {"MODE=prod", "STORE=s3://bucket"} <= set(body["Env"])
    host = body["HostConfig"]
    assert host["NanoCpus"] == 2_000_000_000
    assert host["Memory"] == 4 * 1024**3
    assert host["DeviceRequests"][0]["Count"] == 1
    assert host["DeviceRequests"][0]["Capabilities"] == [["gpu"]]
    assert body["Labels"]["dagster/run_id"] == run.run_id


STATE = {
    "MLOPS_STORE_URI",
    "MLOPS_TRITON_GRPC_URL",
    "MLOPS_TRITON_HTTP_URL",
    "MLOPS_TRITON_REPOSITORY",
}
"""Without these a run would work on a store and a model server of its own."""


def sample_request(
    name: str, port: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What the commented launcher of ``deploy/dagster/dagster.yaml`` sends for a plain run."""
    config = examples("docker:")[name]
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    monkeypatch.setenv("MLOPS_RUN_IMAGE", "reg/run:1")
    for variable in config["env_vars"]:
        monkeypatch.setenv(variable, f"the {variable}")
    if name == "kubernetes":
        local = {"load_incluster_config": False, "kubeconfig_file": kubeconfig(folder / "k", port)}
        config |= local
    with instance_for_test(overrides=with_launcher(name, config)) as instance:
        run = make_run(instance, compute_tags(ComputeSpec(launcher=name)), image=None)
        the(instance).launch_run(LaunchRunContext(run, None))
    return Recorder.requests[0][1]


def test_a_run_of_the_docker_example_finds_database_store_and_triton(
    recorder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = sample_request("docker", recorder, tmp_path, monkeypatch)
    sent = {entry.partition("=")[0] for entry in body["Env"]}
    assert needed() | STATE <= sent | image_variables()
    assert "DAGSTER_PG_PASSWORD=the DAGSTER_PG_PASSWORD" in body["Env"]
    assert body["HostConfig"]["Binds"] == ["deploy_mlops:/var/lib/mlops"]
    assert body["HostConfig"]["NetworkMode"] == "mlops"


def test_a_run_of_the_kubernetes_example_finds_database_store_and_triton(
    recorder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = sample_request("kubernetes", recorder, tmp_path, monkeypatch)
    (container,) = body["spec"]["template"]["spec"]["containers"]
    sent = {entry["name"]: entry for entry in container["env"]}
    assert needed() | STATE <= set(sent) | image_variables()
    assert sent["DAGSTER_PG_HOST"]["value"] == "the DAGSTER_PG_HOST"
    assert sent["DAGSTER_PG_PASSWORD"]["valueFrom"]["secretKeyRef"]["name"] == "dagster-postgres"
    assert container["envFrom"] == [{"secretRef": {"name": "mlops"}}]
