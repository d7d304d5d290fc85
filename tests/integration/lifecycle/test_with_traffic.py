"""The world changes, and the live model is replaced by itself: real daemon, sensors and Triton."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from shop_world import DAY, ID, World, running_dagster, visits

from mlops_assets.cli.lifecycle import RunOutcome
from mlops_assets.monitoring.records import Records, record_name
from mlops_assets.monitoring.windows import EPOCH
from mlops_assets.serving.predict import predict
from mlops_assets.serving.prediction_log import PredictionLogger
from mlops_assets.serving.verify import verify_live
from resources.ledger import fold

pytestmark = [pytest.mark.spark, pytest.mark.triton, pytest.mark.slow]

WAIT_SECONDS = 420
MONITORING = """\
  monitoring:
    inference_log: {uri: "{{ env.SHOP_LIVE }}/log"}
    labels: {uri: "{{ env.SHOP_LIVE }}/labels"}
    window: {every: 1d, min_rows: 100}
    drift: {persist: 2 of 2}
    performance: {persist: 2 of 2}
  automation: {cooldown: 1d}
"""
INPUTS = ("age", "spend", "city")


def serve(world: World, rows: pa.Table, version: int, *, lost: str | None = None) -> None:
    """Ask the live model about visits and log it as a client does; labels follow."""
    visited = rows.to_pylist()
    inputs = [{name: row[name] for name in INPUTS} for row in visited]
    if lost is not None:
        inputs = [row | {lost: None} for row in inputs]
    answers = predict(world.project(), inputs, store=world.store, settings=world.settings)
    live = world.settings.root / "live"
    with PredictionLogger(live / "log") as log:
        for row, sent, answer in zip(visited, inputs, answers, strict=True):
            log.add(
                inputs=sent,
                prediction=answer["probability"],
                model_version=version,
                request_id=str(row["visit"]),
                time=row["at"],
            )
    labels = pa.table(
        {"request_id": [str(row["visit"]) for row in visited], "left_us": rows["left_us"]}
    )
    write_whole(live / "labels" / f"{visited[0]['visit']}.parquet", labels)


def write_whole(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    pq.write_table(table, draft)
    draft.rename(path)


def between(table: pa.Table, first: int, last: int) -> pa.Table:
    days = pc.floor(pc.divide(table["at"].cast(pa.int64()), DAY))
    return table.filter(pc.and_(pc.greater_equal(days, first), pc.less(days, last)))


def wait_for_record(world: World, kind: str, name: str) -> dict[str, Any]:
    records = Records(world.store, ID, kind)
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if name in records.names():
            return records.read(name)
        time.sleep(2)
    raise AssertionError(f"no {name} in {kind}; there are {records.names()}")


@pytest.fixture
def monitored(live: tuple[World, RunOutcome]) -> Iterator[World]:
    world, _ = live
    world.write_defs(extra=MONITORING)
    with running_dagster(world.settings):
        yield world


@pytest.mark.timeout(2 * WAIT_SECONDS + 240)
def test_a_changed_world_retrains_and_bad_data_do_not(monitored: World) -> None:
    world = monitored
    state = fold(world.ledger(), 2)
    live, new = state.champion_version, state.next_version
    assert live is not None
    changed = visits(300, 8000, changed=True)
    world.add("changed.parquet", changed)  # new source data alone start nothing now

    serve(world, between(changed, 300, 303), live)
    world.wait_for_version(new, WAIT_SECONDS)

    decisions = Records(world.store, ID, "decisions")
    verdicts = {name: decisions.read(name)["verdict"] for name in decisions.names()}
    assert list(verdicts.values()).count("retrain") == 1, (verdicts, world.causes())
    retrain = next(name for name, verdict in verdicts.items() if verdict == "retrain")
    assert wait_for_record(world, "outcomes", retrain)["outcome"] == "promoted"
    causes = world.causes()
    assert sum(cause.startswith("retrain decision") for cause in causes) == 1
    answer = verify_live(world.project(), store=world.store, settings=world.settings)
    assert (answer.agrees, answer.version) == (True, new)

    serve(world, between(changed, 310, 311), new, lost="city")
    serve(world, between(changed, 311, 312), new)
    blocked = wait_for_record(world, "decisions", record_name(EPOCH + timedelta(days=310)))
    assert (blocked["verdict"], blocked["cause"]) == ("blocked", "bad_data")
    assert "city" in blocked["reason"]
    assert sum(cause.startswith("retrain decision") for cause in world.causes()) == 1
