"""A training that the tests kill: run as a program, or imported for the same project and rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from mlops_assets.training.train_bundle import train_bundle
from resources.manifest import Column, Draft, Manifest
from resources.store import Store, open_store

CODE_VERSION = "1"


def project(**training: Any) -> Project:
    """A project over :func:`features`."""
    written = {
        "description": "Will it be late?",
        "task": "binary",
        "sources": {"trips": {"type": "files", "uri": "trips"}},
        "features": {
            "query": "features.sql",
            "entity": "trip",
            "time": "time",
            "label": {"column": "label"},
            "inputs": {"numeric": ["x", "y"], "categorical": ["kind"]},
        },
        "training": {"epochs": 8, "devices": "cpu", "early_stopping": 0, **training},
    }
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("team", "trips"), spec, Path.cwd(), written)


def features(rows: int = 12_000, seed: int = 0) -> pa.Table:
    """Rows with a learnable label."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=rows), rng.normal(size=rows)
    kind = rng.choice(["a", "b", "c"], rows)
    label = (x * y + (kind == "a") > rng.normal(size=rows)).astype(np.int32)
    start = np.datetime64("2024-01-01", "us")
    return pa.table(
        {
            "trip": np.arange(rows).astype(str),
            "time": start + np.arange(rows) * np.timedelta64(1, "m"),
            "x": x.astype(np.float32),
            "y": y.astype(np.float32),
            "kind": kind,
            "label": label,
        }
    )


def publish_features(store: Store, table: pa.Table, version: str) -> Manifest:
    """A feature table in the store."""
    collection = project().id.features_collection
    with store.staging(collection) as staged:
        pq.write_table(table, staged / "part-0.parquet")
        columns = tuple(Column(name=name, type="string") for name in table.column_names)
        draft = Draft(data_version=version, rows=table.num_rows, columns=columns)
        return store.publish(collection, staged, draft)


def main(root: Path) -> None:
    """Train the newest features of the store, one line on standard output for each epoch."""
    store = open_store(root / "store")
    manifest = store.latest(project().id.features_collection)
    if manifest is None:
        raise SystemExit("no features")
    trained = train_bundle(
        project(),
        store=store,
        features=manifest,
        checkpoints_root=root / "checkpoints",
        code_version=CODE_VERSION,
        on_epoch=lambda epoch: print(json.dumps({"epoch": epoch.epoch}), flush=True),  # noqa: T201
    )
    resumed = trained.result.resumed_from if trained.result else None
    print(json.dumps({"id": trained.bundle.id, "resumed_from": resumed}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
