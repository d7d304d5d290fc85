"""Columns of slices are known from their manifests, and names are listed once a look."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from mlops_assets.sources import registry
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.columns import COLUMNS_DIGEST, columns_digest, representatives
from mlops_assets.sources.incremental import Plan, Slice, Written
from mlops_assets.sources.landing import land, landed, look_at
from resources.local_store import LocalStore

SCHEMA = pa.schema([("id", pa.int64()), ("tags", pa.list_(pa.string()))])


class Numbers:
    """A source of slices without rows, with rows, and with a column more."""

    def __init__(self) -> None:
        self.ready = [Slice("p0", f"{n:02}", f"{n + 1:02}") for n in range(4)]

    def plan(self, spec: Any, taken: Mapping[str, Slice], context: SourceContext) -> Plan:
        new = [s for s in self.ready if not taken or s.start >= taken["p0"].end]
        return Plan(tuple(new), len(new))

    def write(self, spec: Any, part: Slice, folder: Path, context: SourceContext) -> Written:
        if part.start == "00":
            return Written(0)
        more = {"x": [1.0]} if part.start == "03" else {}
        pq.write_table(pa.table({"id": [1], **more}), folder / "part-00000.parquet")
        return Written(1)

    def show(self, spec: Any, taken: Mapping[str, Slice], context: SourceContext) -> None:
        """Nothing."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(registry, "_incremental", lambda: {"kafka": Numbers()})
    kafka = {"type": "kafka", "bootstrap_servers": "b:9092", "topic": "t"}
    written = {
        "description": "x",
        "task": "binary",
        "sources": {"shop": {**kafka, "columns": {"id": "bigint"}}},
        "features": {
            "query": "q.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "y"},
            "inputs": {"numeric": ["x"]},
        },
    }
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("team", "shop"), spec, tmp_path, written)


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (SCHEMA.with_metadata({"by": "spark"}), True),
        (pa.schema([SCHEMA.field(0).with_metadata({"a": "b"}), SCHEMA.field(1)]), True),
        (pa.schema([SCHEMA.field(1), SCHEMA.field(0)]), False),
        (pa.schema([SCHEMA.field(0), ("tags", pa.list_(pa.large_string()))]), False),
        (pa.schema([SCHEMA.field(0).with_nullable(False), SCHEMA.field(1)]), False),
        (SCHEMA.append(pa.field("x", pa.timestamp("us", "UTC"))), False),
    ],
)
def test_the_digest_is_of_what_decides_equality(other: pa.Schema, is_same: bool) -> None:
    assert SCHEMA.equals(other) is is_same
    assert (columns_digest(SCHEMA) == columns_digest(other)) is is_same


def test_one_file_speaks_for_all_of_its_kind(project: Project, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    land(project, "shop", store)
    found = landed(project, "shop", store)
    assert [COLUMNS_DIGEST in manifest.metadata for manifest in found] == [False, True, True, True]
    files = [(m, store.files(m)) for m in found if m.rows]
    assert representatives(files) == [files[0][1][0], files[2][1][0]]
    old = files[0][0].model_copy(update={"metadata": {}})
    assert representatives([(old, ["a", "b"]), (files[1][0], ["c"])]) == ["a", "b", "c"]


def test_a_look_lists_names_once(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    land(project, "shop", store)
    listed: list[str] = []
    names = LocalStore.names
    monkeypatch.setattr(LocalStore, "names", lambda s, c: listed.append(c) or names(s, c))
    found = look_at(project, "shop", store, datetime.now(UTC))
    assert found.plan.slices == ()
    assert found.version is not None
    assert listed == ["team/shop/landing/shop", "team/shop/revisions/shop"]
