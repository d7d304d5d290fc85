"""Runs as Docker containers with what the project's ``compute:`` asks for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dagster_docker import DockerRunLauncher
from dagster_docker.container_context import DockerContainerContext

from mlops_assets.launching.tags import DOCKER_TAG, IMAGE_TAG, environment_names

if TYPE_CHECKING:
    import dagster as dg


class ProjectDockerRunLauncher(DockerRunLauncher):
    """Dagster's Docker launcher, which by itself knows no resources of a single run."""

    def get_container_context(self, dagster_run: dg.DagsterRun) -> DockerContainerContext:
        """The configured container, with the run's resources and environment."""
        context = DockerContainerContext.create_for_run(dagster_run, self)
        arguments = json.loads(dagster_run.tags.get(DOCKER_TAG, "{}"))
        return context.merge(  # type: ignore[no-any-return]
            DockerContainerContext(
                registry=None,
                env_vars=environment_names(dict(dagster_run.tags)),
                networks=[],
                container_kwargs=_with_devices(arguments),
            )
        )

    def _launch_container_with_command(
        self, run: dg.DagsterRun, docker_image: str, command: Any
    ) -> None:
        image = run.tags.get(IMAGE_TAG) or docker_image
        super()._launch_container_with_command(run, image, command)  # type: ignore[no-untyped-call]


def _with_devices(arguments: dict[str, Any]) -> dict[str, Any]:
    """The client's arguments, with a number of GPUs as its device request."""
    from docker.types import DeviceRequest  # type: ignore[import-untyped]

    gpus = arguments.pop("gpus", 0)
    if gpus:
        arguments["device_requests"] = [DeviceRequest(count=gpus, capabilities=[["gpu"]])]
    return arguments
