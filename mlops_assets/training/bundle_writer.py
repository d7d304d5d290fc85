"""Writes bundles: the same training gives the same bytes, and so the same id."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets import __version__
from mlops_assets.config.project import Project
from mlops_assets.training.bundle_safety import REFERENCE_ROWS, file_table_id
from mlops_assets.training.bundle_schema import (
    BUNDLE_FILE,
    CUSTOM_FILE,
    FORMAT,
    ONNX_FILE,
    ROWS_FILE,
    WEIGHTS_FILE,
    BundleInfo,
    schema_of,
)
from mlops_assets.training.golden import Golden, golden_inputs, golden_table
from mlops_assets.training.key import training_key
from mlops_assets.training.onnx_export import OPSET, export_onnx
from mlops_assets.training.parity import check_parity
from mlops_assets.training.reference import reference_profile
from mlops_assets.training.result import TrainingResult
from mlops_assets.training.scoring import onnx_feeds, open_session, run_session
from mlops_assets.training.split import Split

if TYPE_CHECKING:
    import onnxruntime
    import pyarrow as pa
    from numpy.typing import NDArray

PARITY_ROWS = 8192
_TIMINGS = ("seconds", "rows_per_second")


def write_bundle(
    directory: Path,
    project: Project,
    result: TrainingResult,
    table: pa.Table,
    split: Split,
    *,
    features_version: str,
    code_version: str,
) -> BundleInfo:
    """Write all files of a bundle into an empty folder.

    Torch and ONNX Runtime are compared on test rows and on the golden rows before anything is
    written.

    Raises:
        ParityError: They disagree beyond ``deployment.tolerance``.
        BundleError: The module cannot be expressed in ONNX.
    """
    model = export_onnx(result.module, result.preprocessing)
    session = open_session(model)
    rows = _spread(split.test, PARITY_ROWS)
    parity, predictions = _compare(project, result, session, table, rows)
    golden, golden_parity = _golden(project, result, session, table, split)
    documents = {
        "preprocessing": result.preprocessing.to_dict(),
        "schema": schema_of(result.preprocessing).to_dict(),
        "golden": golden.to_dict(),
        "reference": _reference(project, result, table, split, predictions),
        "metrics": _metrics(result),
        "config": project.written,
        "lineage": _lineage(project, features_version, code_version),
        "split": {"by": project.spec.evaluation.split.by, **split.describe()},
        "parity": {"test_rows": parity, "golden_rows": golden_parity},
    }
    bodies = {f"{name}.json": _json(values) for name, values in documents.items()}
    bodies[ONNX_FILE] = model
    bodies[WEIGHTS_FILE] = _weights(result)
    bodies[ROWS_FILE] = _reference_rows(project, result, table, split)
    if project.spec.model.type == "custom":
        from mlops_assets.models.custom import custom_source

        source = custom_source(project.spec.model, project.directory, project.files)
        bodies[CUSTOM_FILE] = source.encode()
    return _write(directory, bodies)


def _reference(
    project: Project,
    result: TrainingResult,
    table: pa.Table,
    split: Split,
    predictions: NDArray[np.float32],
) -> dict[str, Any]:
    """What live traffic is compared with, and how much each input matters."""
    from mlops_assets.training.importance import permutation_importance

    preprocessing = result.preprocessing
    profile = reference_profile(
        table, split.train, preprocessing, predictions, pii=_personal_columns(project)
    )
    importance = permutation_importance(result.module, preprocessing, table, split.validation)
    return {**profile, "importance": importance}


def _reference_rows(
    project: Project, result: TrainingResult, table: pa.Table, split: Split
) -> bytes:
    """Some training rows, inputs only and without personal data, for multivariate drift tests."""
    import pyarrow as pa
    import pyarrow.parquet

    hidden = _personal_columns(project)
    names = [one.name for one in schema_of(result.preprocessing).inputs if one.name not in hidden]
    rows = table.select(names).take(pa.array(_spread(split.train, REFERENCE_ROWS)))
    body = pa.BufferOutputStream()
    pyarrow.parquet.write_table(rows.replace_schema_metadata(None), body)
    written: bytes = body.getvalue().to_pybytes()
    return written


def _personal_columns(project: Project) -> frozenset[str]:
    return frozenset(project.spec.features.pii)


def _spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    places = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)
    return rows[places]


def _compare(
    project: Project,
    result: TrainingResult,
    session: onnxruntime.InferenceSession,
    table: pa.Table,
    rows: NDArray[np.int64] | None,
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Parity report, and ONNX Runtime's predictions."""
    import pyarrow as pa

    from mlops_assets.training.predicting import predict_torch

    sample = table if rows is None else table.take(pa.array(rows))
    schema = schema_of(result.preprocessing)
    found = run_session(session, onnx_feeds(sample, schema), schema)
    report = check_parity(
        predict_torch(result.module, result.preprocessing, sample),
        found,
        task=project.spec.task,
        tolerance=project.spec.deployment.tolerance,
        threshold=project.spec.evaluation.decision_threshold,
        deviation=result.preprocessing.label.deviation,
    )
    return report.to_dict(), found


def _golden(
    project: Project,
    result: TrainingResult,
    session: onnxruntime.InferenceSession,
    table: pa.Table,
    split: Split,
) -> tuple[Golden, dict[str, Any]]:
    from mlops_assets.training.predicting import predict_torch

    preprocessing = result.preprocessing
    inputs = golden_inputs(
        table,
        split.test,
        preprocessing,
        count=project.spec.deployment.golden_rows,
        pii=_personal_columns(project),
    )
    rows = golden_table(inputs, preprocessing)
    report, found = _compare(project, result, session, rows, None)
    return Golden(inputs, found, predict_torch(result.module, preprocessing, rows)), report


def _metrics(result: TrainingResult) -> dict[str, Any]:
    """Without timings, which differ between two runs of the same training."""
    history = [
        {name: value for name, value in asdict(epoch).items() if name not in _TIMINGS}
        for epoch in result.history
    ]
    best = next((epoch for epoch in history if epoch["epoch"] == result.best_epoch), None)
    return {
        "best_epoch": result.best_epoch,
        "validation": {**best["metrics"], "loss": best["validation_loss"]} if best else {},
        "history": history,
        "parameters": sum(parameter.numel() for parameter in result.module.parameters()),
        "device": result.device,
        "precision": result.precision,
        "batch_size": result.batch_size,
    }


def _lineage(project: Project, features_version: str, code_version: str) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "features_version": features_version,
        "code_version": code_version,
        "training_key": training_key(project, features_version, code_version),
        "engine": __version__,
        "torch": version("torch"),
        "onnx_opset": OPSET,
    }


def _weights(result: TrainingResult) -> bytes:
    from safetensors.torch import save

    tensors = {
        name: value.detach().contiguous().clone()
        for name, value in result.module.state_dict().items()
    }
    body: bytes = save(tensors)
    return body


def _json(values: dict[str, Any]) -> bytes:
    text = json.dumps(values, sort_keys=True, allow_nan=False, ensure_ascii=False, default=str)
    return text.encode()


def _write(directory: Path, bodies: dict[str, bytes]) -> BundleInfo:
    files = {
        name: {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        for name, body in sorted(bodies.items())
    }
    info = BundleInfo(file_table_id(files), files)
    document = {"format": FORMAT, "id": info.id, "files": files}
    for name, body in [*bodies.items(), (BUNDLE_FILE, _json(document))]:
        with (directory / name).open("xb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
    return info
