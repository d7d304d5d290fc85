"""The small project with a real Spark, a real Triton and a real Dagster instance."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
from shop_world import CHECKOUT, World, visits

from mlops_assets.cli.lifecycle import RunOutcome
from resources.settings import Settings
from resources.triton.server import ensure_triton


@pytest.fixture(scope="package")
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="package")
def world(
    tmp_path_factory: pytest.TempPathFactory, environment: pytest.MonkeyPatch
) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    (root / "workspace.yaml").write_text("load_from: []\n")
    (root / "triton_repo").mkdir()
    shutil.copytree(CHECKOUT / "triton_repo" / "backends", root / "triton_repo" / "backends")
    cache = os.environ.get("MLOPS_TRITON_ENVIRONMENTS", str(CHECKOUT / ".mlops" / "triton"))
    environment.setenv("MLOPS_TRITON_ENVIRONMENTS", cache)
    environment.setenv("MLOPS_ROOT", str(root))
    environment.setenv("SHOP_DATA", str(root / "data"))
    environment.setenv("SHOP_LIVE", str(root / "live"))
    settings = Settings.from_environment()
    server = ensure_triton(settings, say=print)
    settings = replace(settings, triton_grpc_url=server.grpc_url, triton_http_url=server.http_url)
    try:
        yield World(settings, root / "data")
    finally:
        server.stop()


@pytest.fixture(scope="package")
def live(world: World) -> tuple[World, RunOutcome]:
    """The world after its first run."""
    world.write_defs()
    world.add("a.parquet", visits(0, 4000))
    return world, world.run()
