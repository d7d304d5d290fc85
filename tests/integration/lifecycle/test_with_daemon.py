"""New data reach the served model by themselves: a real daemon, real sensors, real runs."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from shop_world import ID, World, running_dagster, visits

from mlops_assets.cli.lifecycle import RunOutcome, open_instance
from mlops_assets.serving.verify import verify_live
from resources.dagster_ui import DagsterServer

pytestmark = [pytest.mark.spark, pytest.mark.triton, pytest.mark.slow]

WAIT_SECONDS = 420


@pytest.fixture
def daemon(live: tuple[World, RunOutcome]) -> Iterator[DagsterServer]:
    world, _ = live
    with world.bystander(), running_dagster(world.settings) as server:
        yield server


@pytest.mark.timeout(WAIT_SECONDS + 240)
def test_new_data_reach_the_served_model_by_themselves(
    live: tuple[World, RunOutcome], daemon: DagsterServer
) -> None:
    world, _ = live
    before = len(world.causes())
    highest = max(entry.version for entry in world.ledger())
    world.add("automatic.parquet", visits(100, 6000))
    world.wait_for_version(highest + 1, WAIT_SECONDS)
    answer = verify_live(world.project(), store=world.store, settings=world.settings)
    assert answer.agrees
    assert answer.version == highest + 1
    new = world.causes()[: len(world.causes()) - before]
    assert new.count("new data") == 1
    runs_when_served = len(world.causes())
    for _ in range(2):
        world.wait_for_ticks({"shop__new_data", "shop__automation"}, WAIT_SECONDS)
    assert len(world.causes()) == runs_when_served, "unchanged data were run again"
    with open_instance(world.settings) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(ID.deployment_key))
    assert event is not None
