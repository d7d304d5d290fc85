"""What a served model takes and gives, and how many bytes of what a bundle may hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mlops_assets.config.metrics import Task
from mlops_assets.training.preprocessing import Preprocessing

OUTPUT_NAMES: dict[Task, str] = {
    "binary": "probability",
    "multiclass": "probabilities",
    "regression": "prediction",
}

FORMAT = 1
"""Version of the form of ``bundle.json`` and of the documents."""
BUNDLE_FILE = "bundle.json"
ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "weights.safetensors"
CUSTOM_FILE = "model.py"
ROWS_FILE = "reference_rows.parquet"
JSON_FILES = (
    "preprocessing.json",
    "schema.json",
    "golden.json",
    "reference.json",
    "metrics.json",
    "config.json",
    "lineage.json",
    "split.json",
    "parity.json",
)

MAX_JSON_BYTES = 64 * 2**20
MAX_BINARY_BYTES = 2 * 2**30
SIZE_LIMITS: dict[str, int] = {
    BUNDLE_FILE: 2**20,
    ONNX_FILE: MAX_BINARY_BYTES,
    WEIGHTS_FILE: MAX_BINARY_BYTES,
    CUSTOM_FILE: 2**20,
    ROWS_FILE: MAX_JSON_BYTES,
    **dict.fromkeys(JSON_FILES, MAX_JSON_BYTES),
}
"""Every file that a bundle may hold, with its largest size in bytes."""

REQUIRED_FILES = frozenset(SIZE_LIMITS) - {CUSTOM_FILE, ROWS_FILE}


@dataclass(frozen=True)
class BundleInfo:
    """A bundle's identity.

    Attributes:
        id: ``sha256:…`` of the file table.
        files: Size and SHA-256 of each file.
    """

    id: str
    files: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class InputColumn:
    """One input tensor ``[N, 1]`` of the served model.

    Attributes:
        name: Name of the column and of the tensor.
        kind: ``numeric`` (FP32, NaN = missing) or ``categorical`` (string, empty = missing).
    """

    name: str
    kind: Literal["numeric", "categorical"]


@dataclass(frozen=True)
class BundleSchema:
    """Inputs and output of the served model.

    Attributes:
        inputs: In the order of the project's inputs, numeric first.
        task: The task.
        output_name: Name of the one output tensor.
        classes: Multiclass: the meaning of the output's columns; else empty.
    """

    inputs: tuple[InputColumn, ...]
    task: Task
    output_name: str
    classes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "inputs": [{"name": column.name, "kind": column.kind} for column in self.inputs],
            "task": self.task,
            "output_name": self.output_name,
            "classes": list(self.classes),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BundleSchema:
        """Inverse of :meth:`to_dict`."""
        return cls(
            inputs=tuple(InputColumn(**column) for column in values["inputs"]),
            task=values["task"],
            output_name=values["output_name"],
            classes=tuple(values["classes"]),
        )


def schema_of(preprocessing: Preprocessing) -> BundleSchema:
    """The schema of the model with this preprocessing."""
    numeric = tuple(InputColumn(column.name, "numeric") for column in preprocessing.numeric)
    categorical = tuple(
        InputColumn(column.name, "categorical") for column in preprocessing.categorical
    )
    task = preprocessing.task
    return BundleSchema(
        (*numeric, *categorical), task, OUTPUT_NAMES[task], preprocessing.label.classes
    )
