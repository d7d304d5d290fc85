"""The engine's part of ingestion, as small as it can be: plan, write, publish by name."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.incremental import DEAD_LETTERS, Plan, Slice
from mlops_assets.sources.kafka import INCREMENTAL


def taken(store: Path) -> dict[str, Slice]:
    """The newest published slice of each series."""
    found: dict[str, Slice] = {}
    for file in sorted(store.glob("*.json")):
        record = json.loads(file.read_text())
        part = Slice(**record["slice"])
        detail = {**part.detail, "latest": record["written"]["latest"]}
        found[part.series] = replace(part, detail=detail)
    return found


def take(spec: KafkaSource, store: Path, context: SourceContext) -> Plan:
    """Take everything that there is; the published name is the one thing that counts."""
    store.mkdir(exist_ok=True)
    plan = INCREMENTAL.plan(spec, taken(store), context)
    for part in plan.slices:
        folder = Path(tempfile.mkdtemp(prefix=f"draft-{part.name}-", dir=store))
        written = INCREMENTAL.write(spec, part, folder, context)
        record = {"slice": asdict(part), "written": asdict(written), "folder": folder.name}
        (folder / "record").write_text(json.dumps(record))
        os.link(folder / "record", store / f"{part.name}.json")
    return plan


def published(store: Path) -> list[Path]:
    """Folders of the published slices."""
    return [store / json.loads(f.read_text())["folder"] for f in sorted(store.glob("*.json"))]


def rows(store: Path) -> list[dict[str, Any]]:
    """All published rows."""
    files = [file for folder in published(store) for file in sorted(folder.glob("*.parquet"))]
    return pa.concat_tables(map(pq.read_table, files)).to_pylist() if files else []


def letters(store: Path) -> list[dict[str, Any]]:
    """All published dead letters."""
    files = [folder / DEAD_LETTERS for folder in published(store)]
    return [json.loads(line) for f in files if f.exists() for line in f.read_text().splitlines()]
