"""Growing sources in `mlops status` and as Prometheus metrics."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mlops_assets.cli.growing import GrowingStatus, read_growing
from mlops_assets.cli.main import COMMANDS
from mlops_assets.cli.metrics import METRICS, _escaped, _replace, metrics, render_metrics
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.config.scaffold import scaffold_project
from mlops_assets.errors import EnvironmentProblemError
from mlops_assets.keys import ProjectId
from mlops_assets.sources.incremental import Slice
from resources.local_store import LocalStore
from resources.manifest import Draft
from sensors.looks import Look

ID = ProjectId("shop", "churn")
KNOWN = GrowingStatus("orders", 1200, 90.5, "2024-01-01T00:00:00+00:00", 0, 2, 7)
UNKNOWN = GrowingStatus("clicks", None, None, None, 0, 0, 0)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    kafka = {"type": "kafka", "bootstrap_servers": "b:9092", "columns": {"id": "bigint"}}
    written = {
        "description": "x",
        "task": "binary",
        "sources": {name: {**kafka, "topic": name} for name in ("orders", "clicks")},
        "features": {
            "query": "q.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "y"},
            "inputs": {"numeric": ["x"]},
        },
    }
    return Project(ID, ProjectSpec.model_validate(written), tmp_path, written)


def publish(store: LocalStore, start: int, **metadata: Any) -> None:
    part = {"series": "p0", "start": f"{start:05}", "end": f"{start + 5:05}"}
    collection = ID.landing_collection("orders")
    with store.staging(collection) as folder:
        draft = Draft(data_version=f"{start}", rows=0, metadata={"slice": part, **metadata})
        store.publish_as(collection, Slice(**part).name, folder, draft)


def test_what_sensors_and_store_know(project: Project, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    publish(store, 0, rejected=3)
    publish(store, 5, rejected=1)
    store.create(f"{ID.gaps_prefix('orders')}/p0-1.json", b"{}")
    look = Look(at=1000.0, waiting=8, since=940.0)
    orders, clicks = read_growing(project, store, {"shop/churn/orders": look})
    assert (orders.lag, orders.oldest_wait_seconds, orders.gaps) == (8, 60.0, 1)
    assert orders.dead_letters == 4, "slices of an engine that did not count are counted"
    assert orders.sentence == "orders: 8 waiting for 60 s, 1 gaps, 4 dead letters"
    assert clicks.sentence == "clicks: no sensor has looked, 0 gaps, 0 dead letters"
    publish(store, 10, rejected=0, rejected_so_far=4)
    orders, _ = read_growing(project, store, {})
    assert orders.dead_letters == 4
    away = Look(at=1000.0, failures=4, waiting=8, since=940.0)
    orders, _ = read_growing(project, store, {"shop/churn/orders": away})
    assert "away for 4 looks" in orders.sentence


def test_the_format_is_that_of_prometheus() -> None:
    text = render_metrics([(ID, KNOWN), (ID, UNKNOWN)])
    labels = 'team="shop",project="churn",source="orders"'
    assert text.startswith(
        "# HELP mlops_source_lag Rows, messages or partitions that wait to be taken.\n"
        "# TYPE mlops_source_lag gauge\n"
        f"mlops_source_lag{{{labels}}} 1200\n"
        "# HELP mlops_source_oldest_wait_seconds"
    )
    assert f"mlops_source_oldest_wait_seconds{{{labels}}} 90.5\n" in text
    assert f"mlops_source_looked_timestamp_seconds{{{labels}}} 1704067200.0\n" in text
    assert text.count('source="clicks"') == 3, "what is not known is left out"
    assert text.endswith(" 0\n")
    assert _escaped('a\\b"c\nd') == 'a\\\\b\\"c\\nd'


def test_a_parser_of_prometheus_reads_it() -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus-client")
    families = list(parser.text_string_to_metric_families(render_metrics([(ID, KNOWN)])))
    assert [f"{f.name}_total" if f.type == "counter" else f.name for f in families] == [
        name for name, _, _ in METRICS
    ]
    assert [sample.value for family in families for sample in family.samples] == [
        1200.0, 90.5, 1704067200.0, 0.0, 2.0, 7.0,
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_promtool_finds_nothing_to_say() -> None:
    text = render_metrics([(ID, KNOWN), (ID, UNKNOWN)])
    subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=True)


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    (tmp_path / "project_configs").mkdir()
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    target = tmp_path / "textfile" / "mlops.prom"
    target.parent.mkdir()
    target.write_text("old")
    done = CliRunner().invoke(metrics, ["--to", str(target)])
    assert done.exit_code == 0, done.output
    assert target.read_text() == render_metrics([])
    assert [path.name for path in target.parent.iterdir()] == ["mlops.prom"]
    assert target.stat().st_mode & 0o777 == 0o644
    assert "metrics" in COMMANDS


def test_a_broken_project_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    scaffold_project(tmp_path, ID, "binary")
    broken = scaffold_project(tmp_path, ProjectId("shop", "broken"), "binary")[0]
    (broken.parent / "defs.yaml").write_text("type: [")
    target = tmp_path / "mlops.prom"
    done = CliRunner().invoke(metrics, ["--to", str(target)])
    assert done.exit_code == 1
    assert "shop/broken" in done.output
    assert target.read_text() == render_metrics([])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblemError, match=r"--to .*away/mlops\.prom"):
        _replace(tmp_path / "away" / "mlops.prom", "text")
