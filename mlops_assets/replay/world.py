"""A copy of a project whose past has just begun: sources grow as its time passes.

The copy lives in a folder of its own, with its own store, ledger, Triton repository and Dagster
instance, so that nothing of the real project is touched. Its sources are Parquet files that hold
what was known by then; its inference log and labels are written by the replay.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlops_assets.config.loader import load_project
from mlops_assets.config.project import Project
from mlops_assets.errors import ConfigError
from mlops_assets.replay.injection import Injection, shifted_query
from mlops_assets.serving.log_files import write_log_file

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

    from resources.store import Store

PROJECTS = "project_configs"
DROPPED = ("freshness",)
"""Parts of ``monitoring:`` that follow the wall clock and mean nothing in a replay."""


@dataclass(frozen=True)
class World:
    """The copy of a project and the history that it lives through.

    Attributes:
        project: The copy.
        root: Its project root.
        features: Every feature row of history, injections not applied.
        sources: Raw history by source.
        injections: What is added to history.
    """

    project: Project
    root: Path
    features: pa.Table
    sources: Mapping[str, ds.Dataset]
    injections: Sequence[Injection]

    @property
    def log_folder(self) -> Path:
        """Where the copy's inference log is read from."""
        return self.root / "traffic" / "inference_log"

    @property
    def label_folder(self) -> Path:
        """Where the copy's labels are read from."""
        return self.root / "traffic" / "labels"

    def reveal(self, start: datetime | None, end: datetime) -> None:
        """Add what the sources learned in ``[start, end)``; from the beginning without a start."""
        for name, dataset in self.sources.items():
            column = self.project.spec.sources[name].time_column
            folder = self.root / "sources" / name
            if column is None:
                if start is None:
                    write_log_file(folder, dataset.to_table(), "all")
                continue
            rows = dataset.to_table(filter=between(dataset.schema, column, start, end))
            if rows.num_rows:
                write_log_file(folder, rows, f"until-{end:%Y%m%dT%H%M%S}")

    def requests(self, start: datetime, end: datetime) -> pa.Table:
        """The feature rows of ``[start, end)`` as live requests."""
        time = self.project.spec.features.time
        chosen = between(self.features.schema, time, start, end)
        rows = self.features.filter(chosen)
        for injection in self.injections:
            rows = injection.apply(rows, time)
        return rows


def between(schema: pa.Schema, column: str, start: datetime | None, end: datetime) -> Any:
    """The Arrow expression of ``start <= column < end``.

    Raises:
        ConfigError: The column holds no times.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = schema.field(column).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise ConfigError(
            "a replay needs times to follow",
            where=f"column {column}",
            found=str(kind),
            expected="a timestamp or a date",
        )
    field = pc.field(column)
    inside = field < _as(end, kind)
    return inside if start is None else (field >= _as(start, kind)) & inside


def make_world(
    project: Project, store: Store, folder: Path, injections: Sequence[Injection]
) -> World:
    """Copy a project whose raw data and features are in the store.

    Args:
        project: The real project.
        store: Its store.
        folder: An empty folder for the copy.
        injections: What is added to history.
    """
    import pyarrow.dataset as ds

    from mlops_assets.training.table import load_table

    manifest = store.latest(project.id.features_collection)
    if manifest is None:
        raise ConfigError("there are no features to replay", where=str(project.id))
    home = folder / PROJECTS / project.id.team / project.id.name
    shutil.copytree(project.directory, home, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "workspace.yaml").write_text("load_from: []\n", encoding="utf-8")
    query = home / project.spec.features.query
    columns = [column.name for column in manifest.columns]
    text = shifted_query(
        project.text(project.spec.features.query),
        columns,
        list(injections),
        project.spec.features.time,
    )
    query.write_text(text, encoding="utf-8")
    document = {"type": "mlops_assets.MLProject", "attributes": rewritten(project, folder)}
    (home / "defs.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    sources = {}
    for name in project.spec.sources:
        raw = store.latest(project.id.raw_collection(name))
        if raw is None:
            raise ConfigError("there are no raw data to replay", where=f"{project.id} {name}")
        sources[name] = ds.dataset(store.files(raw), format="parquet")
    return World(
        load_project(home, folder),
        folder,
        load_table(store.files(manifest)),
        sources,
        tuple(injections),
    )


def rewritten(project: Project, folder: Path) -> dict[str, Any]:
    """The project's YAML with sources, log and labels that the replay writes."""
    written: dict[str, Any] = dict(project.written)
    written["sources"] = {
        name: {
            "type": "files",
            "uri": str(folder / "sources" / name),
            **({"time_column": spec.time_column} if spec.time_column else {}),
            **({"pii": list(spec.pii)} if spec.pii else {}),
        }
        for name, spec in project.spec.sources.items()
    }
    monitoring = {k: v for k, v in (written.get("monitoring") or {}).items() if k not in DROPPED}
    declared = project.spec.monitoring.inference_log
    log = {} if declared is None else declared.own_columns
    monitoring["inference_log"] = {**log, "uri": str(folder / "traffic" / "inference_log")}
    min_share = (monitoring.get("labels") or {}).get("min_share")
    monitoring["labels"] = {
        "uri": str(folder / "traffic" / "labels"),
        **({"min_share": min_share} if min_share else {}),
    }
    automation = dict(written.get("automation") or {})
    automation.pop("fallback_schedule", None)
    written["monitoring"] = monitoring
    written["automation"] = automation | {"enabled": True, "retrain_on": "decision"}
    return written


def _as(moment: datetime, kind: pa.DataType) -> pa.Scalar:
    import pyarrow as pa

    if pa.types.is_timestamp(kind) and kind.tz is None:
        return pa.scalar(moment.replace(tzinfo=None)).cast(kind)
    if pa.types.is_date(kind):
        return pa.scalar(moment.date()).cast(kind)
    return pa.scalar(moment).cast(kind)


def label_delay(project: Project) -> timedelta:
    """How long after a request its label is delivered."""
    return project.spec.features.label.matures_after or timedelta(0)
