"""``compute:`` as run tags: the only words between a project's YAML and what launches its runs."""

from __future__ import annotations

import json
from typing import Any

from mlops_assets.config.compute import ComputeSpec

PROCESS = "process"
"""The launcher that every instance has."""
LAUNCHER_TAG = "mlops/launcher"
"""Run tag: the launcher that the project asks for."""
LAUNCHED_BY_TAG = "mlops/launched_by"
"""Run tag: the launcher that started the run; it alone can watch and stop it."""
IMAGE_TAG = "mlops/image"
"""Run tag: container image, for Docker and ECS."""
ENVIRONMENT_TAG = "mlops/environment"
"""Run tag: names of environment variables for the run's container, never their values."""
DOCKER_TAG = "mlops/docker"
"""Run tag: resources of a Docker container, as JSON."""
RUN_TAGS_METADATA = "mlops/run_tags"
"""Metadata of an asset: the tags of every run that materializes it."""

_MIB = {"Mi": 1, "Gi": 1024}


def compute_tags(compute: ComputeSpec) -> dict[str, str]:
    """Tags for every run of a project; none where it asks for nothing."""
    if compute.is_default:
        return {}
    tags: dict[str, str] = {LAUNCHER_TAG: compute.launcher}
    if compute.max_retries is not None:
        tags["dagster/max_retries"] = str(compute.max_retries)
    if compute.timeout is not None:
        tags["dagster/max_runtime"] = str(int(compute.timeout.total_seconds()))
    if compute.environment:
        tags[ENVIRONMENT_TAG] = ",".join(compute.environment)
    if compute.launcher == "kubernetes":
        return tags | _kubernetes(compute)
    if compute.image:
        tags[IMAGE_TAG] = compute.image
    if compute.launcher == "ecs":
        return tags | _ecs(compute)
    if compute.launcher == "docker":
        return tags | _docker(compute)
    return tags


def environment_names(tags: dict[str, str]) -> list[str]:
    """Names of the environment variables that a run's container gets."""
    return [name for name in tags.get(ENVIRONMENT_TAG, "").split(",") if name]


def memory_mib(memory: str) -> int:
    """``8Gi`` in mebibytes."""
    return int(memory[:-2]) * _MIB[memory[-2:]]


def _kubernetes(compute: ComputeSpec) -> dict[str, str]:
    """Requests are limits: a run that gets less than it asked for fails late."""
    resources = {}
    if compute.cpu is not None:
        resources["cpu"] = f"{compute.cpu:g}"
    if compute.memory is not None:
        resources["memory"] = compute.memory
    if compute.gpus:
        resources["nvidia.com/gpu"] = str(compute.gpus)
    container: dict[str, Any] = {}
    if resources:
        container["resources"] = {"requests": resources, "limits": resources}
    if compute.image:
        container["image"] = compute.image
    if not container:
        return {}
    return {"dagster-k8s/config": json.dumps({"container_config": container}, sort_keys=True)}


def _ecs(compute: ComputeSpec) -> dict[str, str]:
    """CPU units of 1/1024 core, MiB, and GPUs as a requirement of the run's container."""
    tags = {}
    if compute.cpu is not None:
        tags["ecs/cpu"] = str(int(compute.cpu * 1024))
    if compute.memory is not None:
        tags["ecs/memory"] = str(memory_mib(compute.memory))
    if compute.gpus:
        needs = [{"type": "GPU", "value": str(compute.gpus)}]
        tags["ecs/container_overrides"] = json.dumps({"resourceRequirements": needs})
    return tags


def _docker(compute: ComputeSpec) -> dict[str, str]:
    """Arguments of the Docker client's ``containers.create``."""
    arguments: dict[str, Any] = {}
    if compute.cpu is not None:
        arguments["nano_cpus"] = int(compute.cpu * 1_000_000_000)
    if compute.memory is not None:
        arguments["mem_limit"] = f"{memory_mib(compute.memory)}m"
    if compute.gpus:
        arguments["gpus"] = compute.gpus
    return {DOCKER_TAG: json.dumps(arguments, sort_keys=True)} if arguments else {}
