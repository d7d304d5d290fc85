"""The evaluation of bundles as training writes them: torch, ONNX export and all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from mlops_assets.config.project import Project
from mlops_assets.evaluation.verdict import evaluate
from mlops_assets.training.bundle import Bundle, open_bundle
from mlops_assets.training.bundle_writer import write_bundle
from mlops_assets.training.split import Split, split_rows
from mlops_assets.training.trainer import train


def _bundle(project: Project, table: pa.Table, split: Split, folder: Path) -> Bundle:
    result = train(table, split, project, checkpoints=folder / "checkpoints")
    directory = folder / "bundle"
    directory.mkdir()
    versions = {"features_version": f"sha256:{0:064x}", "code_version": "1"}
    write_bundle(directory, project, result, table, split, **versions)
    return open_bundle(directory)


@pytest.mark.slow
def test_a_trained_model_replaces_a_worse_one_and_not_the_other_way_round(
    make_project: Callable[..., Project], make_table: Callable[..., pa.Table], tmp_path: Path
) -> None:
    table = make_table(rows=3000)
    inputs = {"inputs": {"numeric": ["x"], "categorical": ["carrier"]}}
    base = {"model": {"type": "mlp", "hidden": [8]}, "evaluation": {"slices": ["carrier"]}}
    project = make_project(features=inputs, training={"epochs": 6}, **base)
    blind = make_project(
        features={"inputs": {"numeric": [], "categorical": ["carrier"]}},
        training={"epochs": 1},
        **base,
    )
    split = split_rows(table, project.spec)
    good = _bundle(project, table, split, tmp_path / "good")
    poor = _bundle(blind, table, split, tmp_path / "poor")

    first = evaluate(project, good, table, split, None)
    better = evaluate(project, good, table, split, poor, champion_version=1)
    worse = evaluate(project, poor, table, split, good, champion_version=2)
    same = evaluate(project, good, table, split, good, champion_version=2)

    verdicts = [result.verdict for result in (first, better, worse, same)]
    assert verdicts == ["promote", "promote", "reject", "unchanged"]
    assert first.metrics == better.metrics == worse.champion_metrics
    assert first.metrics["roc_auc"] is not None
    assert first.metrics["roc_auc"] > 0.8
    assert "version 2" in worse.reason
    assert len(json.dumps(better.to_dict(), allow_nan=False)) < 100_000
