"""A small project of its own, and what a person would do with it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster._core.scheduler.instigation import TickStatus
from rich.console import Console

from mlops_assets.cli.lifecycle import STAGES, RunOutcome, open_instance, run_lifecycle
from mlops_assets.config.loader import load_project
from mlops_assets.config.project import Project
from mlops_assets.keys import ProjectId
from resources.dagster_ui import DagsterServer, start_dagster
from resources.ledger import Entry, Ledger
from resources.settings import Settings
from resources.store import Store, open_store

CHECKOUT = Path(__file__).parents[3]
ID = ProjectId("shop", "churn")
DAY = 86_400_000_000

DEFS = """\
type: mlops_assets.MLProject
attributes:
  description: Will this customer leave?
  owners: ["team:shop"]
  task: binary
  sources:
    visits: {type: files, uri: "{{ env.SHOP_DATA }}", time_column: at, pii: [email]}
  checks:
    visits:
      - {type: expect_column_values_to_not_be_null, column: spend, mostly: 0.8}
      - {type: expect_column_values_to_be_between, column: age, max_value: 60, severity: warn}
    features:
      - {type: expect_column_values_to_be_unique, column: visit}
  features:
    query: features.sql
    entity: visit
    time: at
    label: {column: left_us}
    inputs: {numeric: [age, spend], categorical: [city]}
  training: {epochs: 3, seed: 1}
  evaluation:
    split: {by: time, test: 5d}
    gates: [{metric: roc_auc, min: GATE}]
    slices: [city]
  deployment: {golden_rows: 16}
"""
QUERY = "SELECT visit, at, age, spend, city, left_us FROM visits\n"


WORKSPACE = """\
load_from:
  - python_module:
      module_name: mlops_assets.definitions
      attribute: shop
      location_name: shop
"""


@contextmanager
def running_dagster(settings: Settings) -> Iterator[DagsterServer]:
    """A real web server, daemon and code server, which loads the project as it is now."""
    (settings.root / "workspace.yaml").write_text(WORKSPACE)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLOPS_LOOK_SECONDS", "5")
        server = start_dagster(settings, 3400)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def visits(
    start: int, rows: int, *, null_share: float = 0.05, seed: int = 0, changed: bool = False
) -> pa.Table:
    """Visits whose label follows from age, spend and city; in a changed world older people come,
    and it is the young ones who leave.
    """
    random = np.random.default_rng(seed + start)
    age = random.uniform(48, 80, rows) if changed else random.uniform(18, 80, rows)
    spend = random.exponential(50, rows)
    city = random.choice(["Rome", "Oslo", "Bonn"], rows)
    score = (64 - age if changed else age - 50) / 15 - spend / 50 + (city == "Oslo") * 2
    left = random.random(rows) < 1 / (1 + np.exp(-2 * score))
    missing = random.random(rows) < null_share
    at = start * DAY + np.sort(random.integers(0, 20 * DAY, rows))
    return pa.table(
        {
            "visit": np.arange(start * 1_000_000, start * 1_000_000 + rows),
            "at": pa.array(at, pa.timestamp("us", tz="UTC")),
            "age": age,
            "spend": pa.array(spend, mask=missing),
            "city": city,
            "email": [f"secret{n}@example.com" for n in range(rows)],
            "left_us": left.astype(np.int32),
        }
    )


@dataclass
class World:
    """The project's surroundings, and what a person would do with them."""

    settings: Settings
    data: Path

    @property
    def store(self) -> Store:
        return open_store(self.settings.store_uri)

    @property
    def folder(self) -> Path:
        return self.settings.root / "project_configs" / "shop" / "churn"

    def project(self) -> Project:
        return load_project(self.folder, self.settings.root)

    def write_defs(self, gate: float = 0.6, extra: str = "") -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "defs.yaml").write_text(DEFS.replace("GATE", str(gate)) + extra)
        (self.folder / "features.sql").write_text(QUERY)

    @contextmanager
    def bystander(self) -> Iterator[None]:
        """Another project of the team, for a block: without data, and left alone."""
        folder = self.folder.parent / "bystander"
        folder.mkdir()
        defs = DEFS.replace("GATE", "0.6").replace("{{ env.SHOP_DATA }}", "away")
        (folder / "defs.yaml").write_text(defs + "  automation: {enabled: false}\n")
        (folder / "features.sql").write_text(QUERY)
        try:
            yield
        finally:
            shutil.rmtree(folder)

    def add(self, name: str, table: pa.Table) -> None:
        self.data.mkdir(exist_ok=True)
        pq.write_table(table, self.data / name)

    def run(self, *stages: str, project: Project | None = None) -> RunOutcome:
        console = Console(file=StringIO())
        return run_lifecycle(
            project or self.project(), self.settings, console=console, stages=stages or STAGES
        )

    def ledger(self) -> list[Entry]:
        return Ledger(self.store, ID.ledger_prefix).entries()

    def versions(self, collection: str) -> list[str]:
        return [manifest.data_version for manifest in self.store.manifests(collection)]

    def check_events(self, run_id: str) -> dict[str, bool]:
        """Check name to whether it passed, as the Dagster UI shows them."""
        with open_instance(self.settings) as instance:
            logs = instance.all_logs(run_id)
        events = [entry.dagster_event for entry in logs if entry.dagster_event]
        found = [e for e in events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
        data = [event.asset_check_evaluation_data for event in found]
        return {item.check_name: item.passed for item in data}

    def causes(self) -> list[str]:
        """Why each run was started, newest first."""
        with open_instance(self.settings) as instance:
            return [run.tags.get("mlops/cause", "automation") for run in instance.get_runs()]

    def wait_for_ticks(self, sensors: Collection[str], seconds: float) -> None:
        """Until each of these sensors has begun and ended a look.

        Raises:
            AssertionError: One did not.
        """
        start = time.time()
        while time.time() < start + seconds:
            with open_instance(self.settings) as instance:
                looked = {
                    state.name
                    for state in instance.all_instigator_state()
                    for tick in instance.get_ticks(
                        state.instigator_origin_id, state.selector_id, after=start
                    )
                    if tick.status is not TickStatus.STARTED
                }
            if looked.issuperset(sensors):
                return
            time.sleep(1)
        raise AssertionError(f"of {sorted(sensors)} only {sorted(looked)} looked")

    def wait_for_version(self, version: int, seconds: float) -> None:
        """Until that version was promoted.

        Raises:
            AssertionError: It was not; with the newest runs.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if version in [e.version for e in self.ledger() if e.action == "promote"]:
                return
            time.sleep(2)
        with open_instance(self.settings) as instance:
            runs = [(r.status.value, sorted(r.tags.items())) for r in instance.get_runs(limit=10)]
        raise AssertionError(f"version {version} was not promoted; runs: {runs}")
