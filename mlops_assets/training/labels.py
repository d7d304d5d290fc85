"""The label as numbers to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.config.metrics import Task
from mlops_assets.config.project import ProjectSpec
from mlops_assets.errors import SchemaError, TrainingError
from mlops_assets.training.encoding import require_columns, text_codes

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

UNKNOWN_CLASS = -1
"""Code of a class that no training row has."""


@dataclass(frozen=True)
class LabelEncoding:
    """How the label is written for the loss.

    Attributes:
        task: The task.
        column: The label's column.
        classes: Multiclass: the classes of the training rows, sorted; else empty.
        mean: Regression: mean of the training rows; else 0.
        deviation: Regression: standard deviation of the training rows; else 1.
    """

    task: Task
    column: str
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def outputs(self) -> int:
        """Scores a row."""
        return len(self.classes) if self.task == "multiclass" else 1

    def encode(self, table: pa.Table, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Targets: float32 0/1 or standardised value, or int64 class codes (-1: unknown)."""
        if self.task == "multiclass":
            codes, texts = text_codes(table, self.column, rows)
            places = {name: place for place, name in enumerate(self.classes)}
            lookup = np.array([places.get(text, UNKNOWN_CLASS) for text in texts], dtype=np.int64)
            return lookup[codes]
        values = _numbers(table, self.column, rows)
        return ((values - self.mean) / self.deviation).astype(np.float32)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LabelEncoding:
        """From JSON values."""
        return cls(**{**values, "classes": tuple(values["classes"])})


def _numbers(table: pa.Table, column: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    import pyarrow as pa

    require_columns(table, [column])
    try:
        values = table[column].take(pa.array(rows)).cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            "the label is no number",
            where=f"features column {column}",
            found=table[column].type,
            expected="a number",
        ) from error
    numbers: NDArray[np.float64] = values
    return numbers


def fit_labels(table: pa.Table, rows: NDArray[np.int64], spec: ProjectSpec) -> LabelEncoding:
    """Classes, or mean and deviation, of the training rows.

    Raises:
        SchemaError: The label's values do not fit the task.
        TrainingError: All training rows have the same label, or one is infinite.
    """
    column, task = spec.features.label.column, spec.task
    if task == "multiclass":
        require_columns(table, [column])
        _, texts = text_codes(table, column, rows)
        _require_variety(len(texts), column, texts)
        return LabelEncoding(task, column, classes=tuple(sorted(texts)))
    values = _numbers(table, column, rows)
    if not np.isfinite(values).all():
        raise TrainingError(
            "a label is infinite or not a number", where=f"features column {column}"
        )
    distinct = np.unique(values)
    if task == "binary" and not np.isin(distinct, (0, 1)).all():
        raise SchemaError(
            "a binary label is neither 0 nor 1",
            where=f"features column {column}",
            found=distinct[:5].tolist(),
            expected=[0, 1],
        )
    _require_variety(len(distinct), column, distinct[:5].tolist())
    if task == "binary":
        return LabelEncoding(task, column)
    return LabelEncoding(task, column, mean=float(values.mean()), deviation=float(values.std()))


def _require_variety(distinct: int, column: str, values: list[Any]) -> None:
    if distinct < 2:
        raise TrainingError(
            "all training rows have the same label",
            where=f"features column {column}",
            found=values,
            expected="at least two different labels",
            fix="look at the query and at `evaluation.split`",
        )
