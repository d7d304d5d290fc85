"""A source by the day: back-filled by the command, and under a real daemon as the UI does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import requests
from click.testing import CliRunner, Result
from shop_world import DEFS, ID, QUERY, running_dagster, visits

from mlops_assets.cli.main import cli
from resources.dagster_ui import DagsterServer
from resources.settings import Settings
from resources.store import Store, open_store

pytestmark = [pytest.mark.spark, pytest.mark.slow]

WAIT_SECONDS = 240
DAYS = ("2024-03-01", "2024-03-02", "2024-03-03")
SOURCE = '{type: files, uri: "{{ env.SHOP_DATA }}", time_column: at, pii: [email]}'
BY_DAY = (
    '{type: files, uri: "{{ env.SHOP_DATA }}/%Y-%m-%d", time_column: at, pii: [email], '
    "partitions: {every: day, start: 2024-03-01, look_every: 5s}}"
)
BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
BACKFILL_STATUS = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } }
}"""
STATUSES = """
query ($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode { partitionStats { numMaterialized numPartitions } }
  }
}"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    (tmp_path / "triton_repo").mkdir()
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    monkeypatch.setenv("SHOP_DATA", str(tmp_path / "data"))
    folder = tmp_path / "project_configs" / "shop" / "churn"
    folder.mkdir(parents=True)
    assert SOURCE in DEFS
    (folder / "defs.yaml").write_text(DEFS.replace(SOURCE, BY_DAY).replace("GATE", "0.6"))
    (folder / "features.sql").write_text(QUERY)
    return Settings.from_environment()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, int], None]:
    def write_day(day: str, rows: int) -> None:
        folder = tmp_path / "data" / day
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(visits(DAYS.index(day) * 30, rows), folder / "rows.parquet")

    return write_day


@pytest.fixture
def server(settings: Settings, write: Callable[[str, int], None]) -> Iterator[DagsterServer]:
    for day in DAYS:
        write(day, 100)
    with running_dagster(settings) as running:
        yield running


def ask(server: DagsterServer, query: str, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    answer = requests.post(f"{server.url}/graphql", json=body, timeout=30).json()
    assert "errors" not in answer, answer
    return answer["data"]


def wait_for_rows(store: Store, rows: int) -> None:
    """Until the newest raw version has so many."""
    end = time.monotonic() + WAIT_SECONDS
    found = None
    while time.monotonic() < end:
        manifest = store.latest(ID.raw_collection("visits"))
        found = manifest.rows if manifest else None
        if found == rows:
            return
        time.sleep(1)
    raise AssertionError(f"raw data have {found} rows instead of {rows}")


def backfill(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["backfill", str(ID), *arguments])


@pytest.mark.timeout(3 * WAIT_SECONDS)
def test_the_command_takes_a_range_again_and_names_what_is_wrong(
    settings: Settings, write: Callable[[str, int], None]
) -> None:
    store = open_store(settings.store_uri)
    for day in DAYS:
        write(day, 100)
    first = backfill("visits", "--from", DAYS[0], "--to", DAYS[2])
    assert first.exit_code == 0, first.output
    assert f"`mlops run {ID}`" in first.output
    wait_for_rows(store, 300)

    for day in DAYS:
        write(day, 150)
    second = backfill("visits", "--from", DAYS[1])
    assert second.exit_code == 0, second.output
    wait_for_rows(store, 350)  # the one day that was asked for
    assert store.names(ID.revisions_collection("visits")) == ["time-20240302T00.000002"]

    wrong = {
        ("orders", "--from", DAYS[0]): "expected: one of visits",
        ("visits", "--from", DAYS[1], "--to", DAYS[0]): f"found: from {DAYS[1]} to {DAYS[0]}",
        ("visits", "--from", "2024-3-1"): "expected: two of 2024-03-01",
    }
    for arguments, words in wrong.items():
        refused = backfill(*arguments)
        assert refused.exit_code == 1
        assert words in " ".join(refused.output.split())


@pytest.mark.timeout(3 * WAIT_SECONDS)
def test_days_are_taken_by_themselves_and_again_by_a_backfill(
    settings: Settings, server: DagsterServer, write: Callable[[str, int], None]
) -> None:
    store = open_store(settings.store_uri)
    wait_for_rows(store, 300)
    key = {"path": ID.landing_key("visits")}
    stats = ask(server, STATUSES, key=key)["assetNodeOrError"]["partitionStats"]
    assert stats["numMaterialized"] == 3
    assert stats["numPartitions"] > 300

    write(DAYS[1], 150)  # older than the look-back: only a back-fill takes it again
    params = {"assetSelection": [key], "partitionNames": list(DAYS[:2])}
    launched = ask(server, BACKFILL, params=params)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    wait_for_rows(store, 350)
    assert store.names(ID.landing_collection("visits")) == [
        f"time-{day.replace('-', '')}T00" for day in DAYS
    ]
    assert store.names(ID.revisions_collection("visits")) == ["time-20240302T00.000002"]
    end = time.monotonic() + WAIT_SECONDS
    while (
        status := ask(server, BACKFILL_STATUS, id=launched["backfillId"])[
            "partitionBackfillOrError"
        ]["status"]
    ) != "COMPLETED_SUCCESS":
        assert time.monotonic() < end, status
        time.sleep(1)
