"""What is learnt from the training rows before any weight: scales, bins, vocabularies, label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.config.metrics import Task
from mlops_assets.config.project import ProjectSpec
from mlops_assets.training.encoding import (
    FIRST_KNOWN_INDEX,
    UNSEEN_INDEX,
    category_indices,
    numeric_matrix,
    text_codes,
)
from mlops_assets.training.labels import LabelEncoding, fit_labels

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

RARE_SHARE = 0.0001
"""A category with a smaller share of the training rows is folded into the unseen ones …"""
RARE_ROWS = 3
"""… and so is one with fewer rows."""
MAX_VOCABULARY = 50_000
"""Only the most frequent categories of a column are known ones."""


@dataclass(frozen=True)
class NumericColumn:
    """A number's statistics over the training rows.

    Attributes:
        name: Column.
        median: Stands in for missing values; 0 when all are missing.
        scale: Reciprocal of the interquartile range; of half the range when that is 0; 0 for a
            constant column.
        has_missing: Some, but not all, values are missing: a 0/1 indicator is added.
        edges: Quantile edges of the piecewise-linear encoding; empty without one.
    """

    name: str
    median: float
    scale: float
    has_missing: bool
    edges: tuple[float, ...]


@dataclass(frozen=True)
class CategoricalColumn:
    """A category's vocabulary over the training rows.

    Attributes:
        name: Column.
        vocabulary: Known categories, sorted; their index is their place + 2.
        untrained: Indices (missing, unseen) that no training row has.
    """

    name: str
    vocabulary: tuple[str, ...]
    untrained: tuple[int, ...]

    @property
    def cardinality(self) -> int:
        """Number of indices, missing and unseen included."""
        return len(self.vocabulary) + FIRST_KNOWN_INDEX


@dataclass(frozen=True)
class Preprocessing:
    """Everything fitted on the training rows except the weights."""

    numeric: tuple[NumericColumn, ...]
    categorical: tuple[CategoricalColumn, ...]
    label: LabelEncoding

    @property
    def task(self) -> Task:
        """The task."""
        return self.label.task

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """Names of the encoded numeric columns, in the order in which the graph makes them."""
        names = [column.name for column in self.numeric]
        names += [f"{column.name}__missing" for column in self.numeric if column.has_missing]
        for column in self.numeric:
            names += [f"{column.name}__bin_{place}" for place in range(len(column.edges) - 1)]
        return tuple(names)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of indices of each categorical column."""
        return tuple(column.cardinality for column in self.categorical)

    def numbers(
        self, table: pa.Table, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Raw numbers, float32 ``[N, F]``, NaN where missing."""
        return numeric_matrix(table, [column.name for column in self.numeric], rows)

    def categories(
        self, table: pa.Table, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Category indices, int64 ``[N, C]``."""
        count = table.num_rows if rows is None else len(rows)
        matrix = np.empty((count, len(self.categorical)), dtype=np.int64)
        for place, column in enumerate(self.categorical):
            matrix[:, place] = category_indices(table, column.name, column.vocabulary, rows)
        return matrix

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Inverse of :meth:`to_dict`."""
        return cls(
            numeric=tuple(
                NumericColumn(**{**column, "edges": tuple(column["edges"])})
                for column in values["numeric"]
            ),
            categorical=tuple(
                CategoricalColumn(
                    column["name"], tuple(column["vocabulary"]), tuple(column["untrained"])
                )
                for column in values["categorical"]
            ),
            label=LabelEncoding.from_dict(values["label"]),
        )


def fit_preprocessing(
    table: pa.Table, rows: NDArray[np.int64], spec: ProjectSpec, bins: int
) -> Preprocessing:
    """Fit on these rows, which must be the training rows alone.

    Args:
        table: Features.
        rows: Training rows.
        spec: Task, label and inputs.
        bins: Quantile bins for each number; 0 for none.

    Raises:
        SchemaError: A column is missing or of the wrong type.
        TrainingError: The label of these rows cannot be learnt from.
    """
    inputs = spec.features.inputs
    label = fit_labels(table, rows, spec)
    numbers = numeric_matrix(table, inputs.numeric, rows)
    numeric = tuple(
        fit_numeric(name, numbers[:, place], bins) for place, name in enumerate(inputs.numeric)
    )
    categorical = tuple(fit_categorical(table, name, rows) for name in inputs.categorical)
    return Preprocessing(numeric, categorical, label)


def fit_numeric(name: str, values: NDArray[np.float32], bins: int) -> NumericColumn:
    """Median, robust scale and bin edges; infinite values count as missing here."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        return NumericColumn(name, 0.0, 0.0, False, ())
    low, lower, median, upper, high = np.quantile(finite, [0, 0.25, 0.5, 0.75, 1])
    spread = upper - lower if upper > lower else (high - low) / 2
    # A column that is constant up to rounding must not be blown up to noise.
    constant = spread <= 1e-7 * max(abs(low), abs(high))
    return NumericColumn(
        name=name,
        median=_float32(median),
        scale=0.0 if constant else _float32(1 / spread),
        has_missing=bool(np.isnan(values).any()),
        edges=() if constant else quantile_edges(finite, bins),
    )


def quantile_edges(values: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    """Distinct float32 quantiles; empty with fewer than two bins between them."""
    if bins == 0:
        return ()
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)).astype(np.float32))
    return tuple(float(edge) for edge in edges) if len(edges) > 2 else ()


def _float32(value: float) -> float:
    return float(np.float32(value))


def fit_categorical(table: pa.Table, name: str, rows: NDArray[np.int64]) -> CategoricalColumn:
    """The known categories; rare ones are folded into the unseen bucket, which they train."""
    codes, texts = text_codes(table, name, rows)
    counts = np.bincount(codes, minlength=len(texts))
    least = max(RARE_ROWS, RARE_SHARE * len(rows))
    order = np.argsort(-counts, kind="stable")
    frequent = [texts[place] for place in order if counts[place] >= least and texts[place]]
    vocabulary = tuple(sorted(frequent[:MAX_VOCABULARY]))
    seen = _indices_seen(texts, vocabulary)
    untrained = tuple(index for index in range(FIRST_KNOWN_INDEX) if index not in seen)
    return CategoricalColumn(name, vocabulary, untrained)


def _indices_seen(texts: Sequence[str], vocabulary: Sequence[str]) -> set[int]:
    known = set(vocabulary)
    missing = 1 - UNSEEN_INDEX
    return {missing if not text else UNSEEN_INDEX for text in texts if text not in known}
