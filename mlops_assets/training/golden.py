"""Golden rows: raw inputs whose right answers travel with the model."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.training.preprocessing import Preprocessing

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

UNSEEN = "never seen in training"
_SPECIAL_ROWS = 3


@dataclass(frozen=True)
class Golden:
    """Rows and the answers of both runtimes when the bundle was written.

    Attributes:
        inputs: For each input, its raw values: numbers with ``None`` for missing, or texts with
            the empty text for missing.
        onnx: Predictions of ONNX Runtime.
        torch: Predictions of torch.
    """

    inputs: dict[str, list[Any]]
    onnx: NDArray[np.float32]
    torch: NDArray[np.float32]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"inputs": self.inputs, "onnx": self.onnx.tolist(), "torch": self.torch.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Golden:
        """Inverse of :meth:`to_dict`."""
        return cls(
            inputs=values["inputs"],
            onnx=np.asarray(values["onnx"], dtype=np.float32),
            torch=np.asarray(values["torch"], dtype=np.float32),
        )


def golden_inputs(
    table: pa.Table,
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
    *,
    count: int,
    pii: Collection[str],
) -> dict[str, list[Any]]:
    """Raw values of evenly spaced rows, after three made-up ones.

    The first row has every input missing, the second only categories that training never saw,
    the third only known categories. Columns with personal data are missing in all real rows.

    Args:
        table: Features.
        rows: Test rows.
        preprocessing: Fitted preprocessing.
        count: Rows wanted, the three included.
        pii: Columns with personal data.
    """
    import pyarrow as pa

    wanted = min(len(rows), max(1, count - _SPECIAL_ROWS))
    places = np.linspace(0, len(rows) - 1, wanted).round().astype(np.int64)
    sample = table.take(pa.array(rows[places]))
    inputs: dict[str, list[Any]] = {}
    for numeric in preprocessing.numeric:
        values = preprocessing.numbers(sample)[:, _place(preprocessing, numeric.name)]
        hidden = numeric.name in pii
        real = [None if hidden else _plain(value) for value in values]
        inputs[numeric.name] = [None, numeric.median, numeric.median, *real]
    for column in preprocessing.categorical:
        texts = sample[column.name].cast(pa.string()).fill_null("").to_pylist()
        known = column.vocabulary[0] if column.vocabulary and column.name not in pii else ""
        shown = [""] * wanted if column.name in pii else texts
        inputs[column.name] = ["", UNSEEN, known, *shown]
    return inputs


def _place(preprocessing: Preprocessing, name: str) -> int:
    return [column.name for column in preprocessing.numeric].index(name)


def _plain(value: np.float32) -> float | None:
    return float(value) if math.isfinite(value) else None


def golden_table(inputs: dict[str, list[Any]], preprocessing: Preprocessing) -> pa.Table:
    """The golden rows as a feature table."""
    import pyarrow as pa

    numeric = {
        column.name: pa.array(inputs[column.name], pa.float32()) for column in preprocessing.numeric
    }
    categorical = {
        column.name: pa.array(inputs[column.name], pa.string())
        for column in preprocessing.categorical
    }
    return pa.table({**numeric, **categorical})
