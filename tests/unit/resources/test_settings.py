"""Settings: places and addresses from the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlops_assets.errors import EnvironmentProblemError
from resources.processes import ProcessRecord, start_ticks
from resources.settings import Settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    return tmp_path.resolve()


def test_defaults(root: Path) -> None:
    settings = Settings.from_environment({}, root)
    assert settings == Settings(
        root=root,
        home=root / ".mlops",
        store_uri=str(root / ".mlops" / "store"),
        triton_grpc_url="127.0.0.1:8001",
        triton_http_url="http://127.0.0.1:8000",
        triton_repository=root / "triton_repo",
        triton_environments=root / ".mlops" / "triton",
    )


def test_the_environment_decides(root: Path, tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "MLOPS_ROOT": str(root),
            "MLOPS_HOME": "state",
            "MLOPS_STORE_URI": "s3://bucket/store",
            "MLOPS_TRITON_GRPC_URL": "triton:1",
            "MLOPS_TRITON_HTTP_URL": "http://triton:2",
            "MLOPS_TRITON_REPOSITORY": "/models",
            "MLOPS_TRITON_ENVIRONMENTS": "shared",
            "MLOPS_DAGSTER_HOME": "deploy/dagster",
        }
    )
    assert settings == Settings(
        root=root,
        home=root / "state",
        store_uri="s3://bucket/store",
        triton_grpc_url="triton:1",
        triton_http_url="http://triton:2",
        triton_repository=Path("/models"),
        triton_environments=root / "shared",
        dagster_home=root / "deploy" / "dagster",
    )
    relative = Settings.from_environment({"MLOPS_STORE_URI": "here"}, root)
    assert relative.store_uri == str(root / "here")


def test_the_root_is_the_nearest_above(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(root / "a" / "b")
    assert Settings.from_environment({}).root == root


def test_no_project_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EnvironmentProblemError, match=r"workspace\.yaml"):
        Settings.from_environment({})
    with pytest.raises(EnvironmentProblemError, match="MLOPS_ROOT"):
        Settings.from_environment({"MLOPS_ROOT": str(tmp_path)})


def test_ports_of_the_running_embedded_triton(root: Path) -> None:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    record = root / ".mlops" / "triton" / "server.json"
    ProcessRecord(os.getpid(), ticks, {"http": 8100, "grpc": 8101}).save(record)
    settings = Settings.from_environment({}, root)
    assert settings.triton_grpc_url == "127.0.0.1:8101"
    assert settings.triton_http_url == "http://127.0.0.1:8100"
    ProcessRecord(os.getpid(), ticks + 1, {"http": 8100, "grpc": 8101}).save(record)
    assert Settings.from_environment({}, root).triton_grpc_url == "127.0.0.1:8001"
