"""``MLProject``: the Dagster component behind every project's ``defs.yaml``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field, model_validator

from mlops_assets.config.environment import resolve
from mlops_assets.config.files import PROJECTS
from mlops_assets.config.loader import load_project
from mlops_assets.config.metrics import Task
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.config.scaffold import scaffold_project
from mlops_assets.errors import ConfigError
from mlops_assets.keys import ProjectId


class ScaffoldParams(BaseModel):
    """Options of ``dg scaffold defs mlops_assets.MLProject``."""

    task: Task = Field(default="binary", description="What kind of answer the model gives.")


class MLProjectScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes the same files as ``mlops new``."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        """Options that ``dg scaffold defs`` takes."""
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        """Write a small valid project into the requested folder.

        Raises:
            ConfigError: The folder is not ``project_configs/<team>/<project>``, or not empty.
        """
        directory = Path(request.target_path)
        root = Path(request.project_root) if request.project_root else _root(directory)
        if request.scaffold_format != "yaml" or request.append:
            raise ConfigError(
                "a project is one defs.yaml of its own",
                where=directory,
                fix="scaffold it without --format and into a new folder",
            )
        scaffold_project(root, _project_id(directory, root), request.params.task)


class Attributes(ProjectSpec):
    """The spec as Dagster reads it: before anything is validated, references are resolved."""

    @model_validator(mode="before")
    @classmethod
    def _resolve_environment(cls, data: Any) -> Any:
        return resolve(data, os.environ).data


@dg.scaffold_with(MLProjectScaffolder)
class MLProject(dg.Component):
    """One ML product, from raw data to a served model: all its assets, checks and conditions.

    Args:
        project: The project, loaded and valid.
    """

    def __init__(self, project: Project) -> None:
        self.project = project

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg list components`` and the Docs tab show."""
        return dg.ComponentTypeSpec(
            description="One ML product: raw data, features, model, evaluation and deployment.",
            tags=["ml", "spark", "pytorch", "triton"],
        )

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The schema of ``attributes:``."""
        return Attributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> MLProject:
        """Read the project's folder with the same strict loader as ``mlops``.

        Dagster's own reading of the file is set aside: it knows neither duplicate keys nor the
        rules about files, and both commands must agree on what is valid.

        Raises:
            ConfigProblems: With every problem of the project.
        """
        return cls(load_project(Path(context.path), Path(context.project_root)))

    @classmethod
    def get_code_references_for_yaml(
        cls, yaml_path: Path, source_position: Any, context: dg.ComponentLoadContext
    ) -> list[Any]:
        """None: each asset already refers to the project's YAML."""
        return []

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The project's assets and checks."""
        from mlops_assets.assets import build_project_definitions

        return build_project_definitions(self.project)


def _root(directory: Path) -> Path:
    return next((p.parent for p in directory.parents if p.name == PROJECTS), directory)


def _project_id(directory: Path, root: Path) -> ProjectId:
    try:
        return ProjectId.parse(directory.relative_to(root / PROJECTS).as_posix())
    except ValueError as error:
        raise ConfigError(
            "a project lives in a folder of its team",
            where=directory,
            found=str(error),
            expected=f"{PROJECTS}/<team>/<project>",
        ) from error
