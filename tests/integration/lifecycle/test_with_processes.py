"""The model asset trains in two processes when the YAML says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from shop_world import World, visits

from resources.settings import Settings

pytestmark = [pytest.mark.spark, pytest.mark.slow]
ONE = "training: {epochs: 3, seed: 1}"
TWO = "training: {epochs: 3, seed: 1, distributed: {processes_per_node: 2, timeout: 60s}}"


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of its own without a Triton: a model that stays undeployed disturbs no one."""
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "data"))
    world = World(Settings.from_environment(), tmp_path / "data")
    world.write_defs()
    world.add("a.parquet", visits(0, 4000))
    return world


def test_the_model_asset_trains_in_two_processes(quiet: World) -> None:
    one = quiet.run("raw", "features", "model").metadata["model"]
    defs = quiet.folder / "defs.yaml"
    assert ONE in defs.read_text()
    defs.write_text(defs.read_text().replace(ONE, TWO))
    two = quiet.run("model").metadata["model"]
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["backend"] == "gloo"
    assert not two["unchanged"]
    assert two["bundle_id"] != one["bundle_id"]
    assert two["version"] == one["version"] + 1
    bundle = quiet.store.latest(quiet.project().id.bundles_collection)
    assert bundle is not None
    placement = bundle.metadata["placement"]
    assert (placement["processes"], placement["backend"]) == (2, "gloo")
    assert len(placement["rows"]) == len(placement["devices"]) == 2
