"""The usual hand-written service: FastAPI, pydantic and ONNX Runtime, one row a request."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import create_model

BUNDLE = Path(os.environ["BENCH_BUNDLE"])
SCHEMA = json.loads((BUNDLE / "schema.json").read_text())
NUMERIC = [column["name"] for column in SCHEMA["inputs"] if column["kind"] == "numeric"]
TEXT = [column["name"] for column in SCHEMA["inputs"] if column["kind"] == "categorical"]

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(
    str(BUNDLE / "model.onnx"), options, providers=["CPUExecutionProvider"]
)
fields: dict[str, Any] = dict.fromkeys(NUMERIC, (float | None, None))
fields |= dict.fromkeys(TEXT, (str | None, None))
Row = create_model("Row", **fields)
app = FastAPI()


def score(row: Any) -> dict[str, float]:
    """The prediction for one row."""
    feeds = {}
    for name in NUMERIC:
        value = getattr(row, name)
        feeds[name] = np.array([[math.nan if value is None else value]], dtype=np.float32)
    for name in TEXT:
        feeds[name] = np.array([[getattr(row, name) or ""]], dtype=object)
    return {SCHEMA["output_name"]: float(session.run(None, feeds)[0][0, 0])}


@app.post("/predict")
def predict(row: Row) -> dict[str, float]:  # type: ignore[valid-type]
    """As FastAPI's documentation advises for calls that block: in its thread pool."""
    return score(row)


@app.post("/predict_async")
async def predict_async(row: Row) -> dict[str, float]:  # type: ignore[valid-type]
    """Against that advice: on the event loop, which saves the change of threads."""
    return score(row)
