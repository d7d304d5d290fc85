"""New data reach the served model by themselves: a real daemon, real sensors, real runs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg
import pytest
from shop_world import ID, World, visits

from mlops_assets.cli.lifecycle import RunOutcome, open_instance
from mlops_assets.serving.verify import verify_live
from resources.dagster_ui import DagsterServer, start_dagster

pytestmark = [pytest.mark.spark, pytest.mark.triton, pytest.mark.slow]

WAIT_SECONDS = 420
WORKSPACE = """\
load_from:
  - python_module:
      module_name: mlops_assets.definitions
      attribute: shop
      location_name: shop
"""


@pytest.fixture
def daemon(live: tuple[World, RunOutcome]) -> Iterator[DagsterServer]:
    world, _ = live
    (world.settings.root / "workspace.yaml").write_text(WORKSPACE)
    server = start_dagster(world.settings, 3400)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def wait_for_version(world: World, version: int) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        promoted = [e.version for e in world.ledger() if e.action == "promote"]
        if version in promoted:
            return
        time.sleep(2)
    with open_instance(world.settings) as instance:
        runs = [(run.status.value, sorted(run.tags.items())) for run in instance.get_runs(limit=10)]
    raise AssertionError(f"version {version} was not promoted; runs: {runs}")


def causes(world: World) -> list[str]:
    with open_instance(world.settings) as instance:
        return [run.tags.get("mlops/cause", "automation") for run in instance.get_runs()]


@pytest.mark.timeout(WAIT_SECONDS + 240)
def test_new_data_reach_the_served_model_by_themselves(
    live: tuple[World, RunOutcome], daemon: DagsterServer
) -> None:
    world, _ = live
    before = len(causes(world))
    highest = max(entry.version for entry in world.ledger())
    world.add("automatic.parquet", visits(100, 6000))
    wait_for_version(world, highest + 1)
    answer = verify_live(world.project(), store=world.store, settings=world.settings)
    assert answer.agrees
    assert answer.version == highest + 1
    new = causes(world)[: len(causes(world)) - before]
    assert new.count("new data") == 1
    runs_when_served = len(causes(world))
    time.sleep(70)  # both sensors tick again
    assert len(causes(world)) == runs_when_served, "unchanged data were run again"
    with open_instance(world.settings) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(ID.deployment_key))
    assert event is not None
