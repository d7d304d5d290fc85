"""The model asset trains in two processes when the YAML says so."""

from __future__ import annotations

import pytest
from shop_world import World

from mlops_assets.cli.lifecycle import RunOutcome

pytestmark = [pytest.mark.spark, pytest.mark.triton, pytest.mark.slow]
ONE = "training: {epochs: 3, seed: 1}"
TWO = "training: {epochs: 3, seed: 1, distributed: {processes_per_node: 2, timeout: 60s}}"


def test_the_model_asset_trains_in_two_processes(live: tuple[World, RunOutcome]) -> None:
    world, _ = live
    world.write_defs()
    defs = world.folder / "defs.yaml"
    one = world.run("raw", "features", "model").metadata["model"]
    assert ONE in defs.read_text()
    defs.write_text(defs.read_text().replace(ONE, TWO))
    try:
        two = world.run("raw", "features", "model").metadata["model"]
    finally:
        world.write_defs()
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["backend"] == "gloo"
    assert not two["unchanged"]
    assert two["bundle_id"] != one["bundle_id"]
    assert two["version"] == one["version"] + 1
