"""``MLProject``: Dagster and ``mlops`` read a project's folder in one way."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster.components.core.package_entry import get_package_objects_in_module

import mlops_assets
from mlops_assets.component import MLProject, MLProjectScaffolder, ScaffoldParams
from mlops_assets.config.checking import check_paths
from mlops_assets.config.problems import ConfigProblems
from mlops_assets.config.scaffold import scaffold_project
from mlops_assets.errors import ConfigError
from mlops_assets.keys import ProjectId


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A valid project's folder, importable as ``project_configs.growth.churn``."""
    scaffold_project(tmp_path, ProjectId("growth", "churn"), "binary")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "project_configs"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path / "project_configs/growth/churn"


def _load(directory: Path) -> MLProject:
    module = importlib.import_module("project_configs.growth.churn")
    root = directory.parents[2]
    tree = dg.ComponentTree.from_module(defs_module=module, project_root=root)
    (component,) = tree.get_all_components(of_type=MLProject)
    return component


def _rewrite(directory: Path, old: str, new: str) -> None:
    file = directory / "defs.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_dagster_loads_a_project(directory: Path) -> None:
    component = _load(directory)
    assert component.project.id == ProjectId("growth", "churn")
    assert component.project.directory == directory
    assert component.project.written["task"] == "binary"


def test_references_are_resolved_in_fields_of_every_type(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _rewrite(directory, "task: binary", 'task: binary\n  training: {epochs: "{{ env.EPOCHS }}"}')
    _rewrite(directory, "[amount]", '["{{ env.COLUMN }}"]')
    monkeypatch.setenv("EPOCHS", "3")
    monkeypatch.setenv("COLUMN", "amount")
    spec = _load(directory).project.spec
    assert spec.training.epochs == 3
    assert spec.features.inputs.numeric == ("amount",)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("task: binary", "task: binary\n  task: binary"),
        ("query: features.sql", "query: missing.sql"),
        ("task: binary", "task: &a binary"),
    ],
)
def test_what_mlops_refuses_dagster_refuses(directory: Path, old: str, new: str) -> None:
    _rewrite(directory, old, new)
    with pytest.raises(Exception) as caught:
        _load(directory)
    causes = []
    error: BaseException | None = caught.value
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    assert any(isinstance(cause, ConfigProblems) for cause in causes)


def _request(root: Path, name: str, *, append: bool = False) -> dg.ScaffoldRequest[ScaffoldParams]:
    return dg.ScaffoldRequest(
        type_name="mlops_assets.MLProject",
        target_path=root / "project_configs" / name,
        scaffold_format="yaml",
        project_root=root,
        params=ScaffoldParams(task="regression"),
        append=append,
    )


def test_scaffolding_writes_what_mlops_new_writes(tmp_path: Path) -> None:
    MLProjectScaffolder().scaffold(_request(tmp_path / "a", "growth/churn"))
    scaffold_project(tmp_path / "b", ProjectId("growth", "churn"), "regression")
    for name in ("defs.yaml", "features.sql"):
        one, other = (tmp_path / root / "project_configs/growth/churn" / name for root in "ab")
        assert one.read_text() == other.read_text()
    assert check_paths([], tmp_path / "a", {}).problems == ()


@pytest.mark.parametrize("name", ["churn", "growth/churn/more", "Growth/churn"])
def test_scaffolding_refuses_other_places(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="project_configs/<team>/<project>"):
        MLProjectScaffolder().scaffold(_request(tmp_path, name))


def test_a_project_is_not_appended_to_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one defs\.yaml of its own"):
        MLProjectScaffolder().scaffold(_request(tmp_path, "growth/churn", append=True))


def test_dagster_finds_the_component_in_the_package() -> None:
    assert ("MLProject", MLProject) in list(get_package_objects_in_module(mlops_assets))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        mlops_assets.Nothing  # noqa: B018


def test_importing_the_package_or_the_config_does_not_import_dagster() -> None:
    code = (
        "import sys, mlops_assets, mlops_assets.config.loader, mlops_assets.config.checking\n"
        "print(sorted({'dagster', 'sqlglot', 'great_expectations', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
