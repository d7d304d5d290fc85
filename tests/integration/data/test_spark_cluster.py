"""Raw data and features on a real Spark cluster: the same versions as on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mlops_assets.config.project import Project
from mlops_assets.features.materialize import materialize_features
from mlops_assets.sources.ingest import ingest
from resources.local_store import LocalStore
from tests.spark_cluster import spark_cluster

pytestmark = [pytest.mark.spark, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
QUERY = """
SELECT id, at, x, colour, label, avg(x) OVER (PARTITION BY colour ORDER BY id) AS running
FROM shop
"""


def accept(df: Any, profile: Any) -> dict[str, Any]:
    return {}


CHILD = """
import json, sys, yaml
from functools import partial
from pathlib import Path
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.config.spark import SparkSpec
from mlops_assets.features.materialize import materialize_features
from mlops_assets.keys import ProjectId
from mlops_assets.quality.runner import validate
from mlops_assets.sources.ingest import ingest
from resources.local_store import LocalStore
from resources.spark import spark_session

document, query, url, home, folder = sys.argv[1:6]
written = yaml.safe_load(document)
spec = ProjectSpec.model_validate(written)
project = Project(ProjectId("team", "shop"), spec, Path(folder), written, {"features.sql": query})
spark = SparkSpec(master=url, executors={"instances": 2, "cores": 1, "memory": "700m"})
factory = partial(spark_session, home=Path(home), spec=spark)
results = []
def check(df, profile):
    results.extend(validate(df, spec.checks["features"], pii=(), where="features"))
    return {}
store = LocalStore(Path(home) / "store")
raw = ingest(project, "shop", store=store, spark_factory=factory, check=lambda df, p: {})
made = materialize_features(
    project, store=store, spark_factory=factory, check=check, code_version="1"
)
session = factory()
nodes = session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()
print(json.dumps({
    "master": session.sparkContext.master, "nodes": nodes, "session": factory() is session,
    "raw": raw.manifest.data_version, "features": made.manifest.data_version,
    "rows": made.manifest.rows, "passed": [r.passed for r in results],
}))
"""


def test_a_cluster_makes_what_one_machine_makes(
    make_project: Callable[..., Project], spark: Any, store: LocalStore, tmp_path: Path
) -> None:
    project = make_project(
        QUERY,
        features={"inputs": {"numeric": ["x", "running"], "categorical": ["colour"]}},
    )
    rows = 5000
    table = pa.table(
        {
            "id": list(range(rows)),
            "at": pa.array([1_700_000_000_000_000 + n for n in range(rows)], pa.timestamp("us")),
            "x": [n % 97 / 7 for n in range(rows)],
            "colour": [("red", "green", "blue")[n % 3] for n in range(rows)],
            "label": [n % 2 for n in range(rows)],
        }
    )
    pq.write_table(table, project.directory / "shop" / "a.parquet")
    here = {"store": store, "spark_factory": lambda: spark, "check": accept}
    raw = ingest(project, "shop", **here)
    features = materialize_features(project, code_version="1", **here)

    document = yaml.safe_dump(
        {
            **project.written,
            "checks": {
                "features": [
                    {"type": "expect_column_values_to_not_be_null", "column": "x"},
                    {"type": "expect_column_values_to_be_unique", "column": "id"},
                ]
            },
        }
    )
    home = tmp_path / "cluster"
    home.mkdir()
    with spark_cluster(home) as url:
        child = subprocess.run(
            [sys.executable, "-c", CHILD, document, QUERY, url, str(home), str(project.directory)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert child.returncode == 0, child.stderr[-3000:]
    found = json.loads(child.stdout.strip().splitlines()[-1])
    assert found["master"] == url
    assert found["nodes"] == 3  # the driver and both workers
    assert found["session"]
    assert found["rows"] == rows
    assert found["passed"] == [True, True]
    assert found["raw"] == raw.manifest.data_version
    assert found["features"] == features.manifest.data_version
