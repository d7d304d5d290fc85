"""Runs as ECS tasks with what the project's ``compute:`` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster_aws.ecs import EcsRunLauncher
from dagster_aws.ecs.container_context import EcsContainerContext

from mlops_assets.launching.tags import IMAGE_TAG, environment_names

if TYPE_CHECKING:
    import dagster as dg


class ProjectEcsRunLauncher(EcsRunLauncher):
    """Dagster's ECS launcher, with the project's image and environment.

    CPU, memory and GPUs are tags that it reads itself.
    """

    def get_image_for_run(self, context: Any) -> str | None:
        """The project's image, or the one that the code location names."""
        image: str | None = context.dagster_run.tags.get(IMAGE_TAG)
        return image or super().get_image_for_run(context)

    def _run_task_kwargs(
        self, run: dg.DagsterRun, image: str | None, container_context: EcsContainerContext
    ) -> dict[str, Any]:
        names = EcsContainerContext(env_vars=environment_names(dict(run.tags)))
        arguments: dict[str, Any] = super()._run_task_kwargs(
            run, image, container_context.merge(names)
        )
        return arguments
