"""Runs as Kubernetes jobs with what the project's ``compute:`` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext

from mlops_assets.launching.tags import environment_names

if TYPE_CHECKING:
    import dagster as dg


class ProjectK8sRunLauncher(K8sRunLauncher):
    """Dagster's Kubernetes launcher, with the project's environment.

    Image and resources are in a tag that it reads itself.
    """

    def get_container_context_for_run(self, dagster_run: dg.DagsterRun) -> K8sContainerContext:
        """The configured pod, with the named variables of the launching process."""
        context = super().get_container_context_for_run(dagster_run)
        names = environment_names(dict(dagster_run.tags))
        return context.merge(K8sContainerContext(env_vars=names))
