"""Predictions from raw values, by ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.training.bundle_schema import BundleSchema
from mlops_assets.training.device import usable_cores
from mlops_assets.training.encoding import numeric_matrix, text_codes

if TYPE_CHECKING:
    import onnxruntime
    import pyarrow as pa

    from mlops_assets.training.bundle import Bundle

_BATCH = 8192


def onnx_feeds(table: pa.Table, schema: BundleSchema) -> dict[str, np.ndarray]:
    """One array ``[N, 1]`` for each input: float32 with NaN, or objects that are ``str``.

    Raises:
        SchemaError: A column is missing, or a numeric one holds no numbers.
    """
    feeds: dict[str, np.ndarray] = {}
    for column in schema.inputs:
        if column.kind == "numeric":
            feeds[column.name] = numeric_matrix(table, [column.name])
        else:
            codes, texts = text_codes(table, column.name)
            feeds[column.name] = np.array([*texts, ""], dtype=object)[codes].reshape(-1, 1)
    return feeds


def open_session(model: bytes | str) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, from a file's path or its bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_session(
    session: onnxruntime.InferenceSession, feeds: dict[str, np.ndarray], schema: BundleSchema
) -> np.ndarray:
    """Predictions float32: ``(N,)``, or ``(N, K)`` for multiclass."""
    rows = len(next(iter(feeds.values())))
    width = len(schema.classes) if schema.task == "multiclass" else 1
    answers: np.ndarray = np.empty((rows, width), dtype=np.float32)
    for start in range(0, rows, _BATCH):
        part: dict[str, Any] = {
            name: values[start : start + _BATCH] for name, values in feeds.items()
        }
        answers[start : start + _BATCH] = session.run([schema.output_name], part)[0]
    return answers if schema.task == "multiclass" else answers[:, 0]


def score(bundle: Bundle, table: pa.Table) -> np.ndarray:
    """Predictions of a bundle for a feature table.

    Returns:
        float32: binary ``(N,)`` probability of 1; multiclass ``(N, K)`` probabilities in the order
        of ``bundle.schema.classes``; regression ``(N,)``.

    Raises:
        SchemaError: A column is missing, or a numeric one holds no numbers.
    """
    session = open_session(str(bundle.onnx_path))
    return run_session(session, onnx_feeds(table, bundle.schema), bundle.schema)
