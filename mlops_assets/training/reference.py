"""The profile of the training rows that drift is later measured against."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.config.metrics import Task
from mlops_assets.training.encoding import text_codes
from mlops_assets.training.preprocessing import Preprocessing

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

BINS = 20
SAMPLE_ROWS = 1000
TOP_CATEGORIES = 100


def reference_profile(
    table: pa.Table,
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
    predictions: NDArray[np.float32],
    *,
    pii: Collection[str],
) -> dict[str, Any]:
    """Profiles of the inputs and the label of these rows, and of these predictions.

    Columns with personal data have their missing share only: no values, bins or sample.

    Args:
        table: Features.
        rows: Training rows.
        preprocessing: Fitted preprocessing.
        predictions: Of rows that the model was not trained on.
        pii: Columns with personal data.
    """
    numbers = preprocessing.numbers(table, rows)
    inputs = {
        column.name: numeric_profile(numbers[:, place], is_pii=column.name in pii)
        for place, column in enumerate(preprocessing.numeric)
    }
    for category in preprocessing.categorical:
        codes, texts = text_codes(table, category.name, rows)
        counts = np.bincount(codes, minlength=len(texts))
        inputs[category.name] = categorical_profile(
            texts, counts, category.vocabulary, is_pii=category.name in pii
        )
    return {
        "rows": len(rows),
        "inputs": inputs,
        "prediction": prediction_profile(predictions, preprocessing.task),
        "label": label_profile(
            preprocessing, table, rows, is_pii=preprocessing.label.column in pii
        ),
    }


def numeric_profile(values: NDArray[np.float32], *, is_pii: bool = False) -> dict[str, Any]:
    """Quantile bins with counts, moments, missing share and an evenly spaced sorted sample.

    ``counts[i]`` are the values in ``[edges[i], edges[i + 1])``, the last bin closed.
    """
    known = np.sort(values[np.isfinite(values)].astype(np.float64))
    profile: dict[str, Any] = {
        "kind": "numeric",
        "count": len(values),
        "missing": _share(len(values) - len(known), len(values)),
        "pii": is_pii,
    }
    if is_pii or known.size == 0:
        return profile
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))
    if len(edges) == 1:
        edges = np.array([edges[0], np.nextafter(edges[0], np.inf)])
    places = np.linspace(0, known.size - 1, min(SAMPLE_ROWS, known.size)).round().astype(int)
    return {
        **profile,
        "edges": edges.tolist(),
        "counts": np.histogram(known, edges)[0].tolist(),
        "mean": float(known.mean()),
        "std": float(known.std()),
        "min": float(known[0]),
        "max": float(known[-1]),
        "sample": known[places].tolist(),
    }


def categorical_profile(
    texts: list[str],
    counts: NDArray[np.int64],
    vocabulary: Collection[str],
    *,
    is_pii: bool = False,
) -> dict[str, Any]:
    """Counts of the most frequent categories, the rest, the rare and the missing ones."""
    total = int(counts.sum())
    by_text = {text: int(count) for text, count in zip(texts, counts, strict=True) if text}
    known = set(vocabulary)
    missing = total - sum(by_text.values())
    profile: dict[str, Any] = {
        "kind": "categorical",
        "count": total,
        "missing": _share(missing, total),
        "rare": _share(sum(n for text, n in by_text.items() if text not in known), total),
        "distinct": len(by_text),
        "pii": is_pii,
    }
    if is_pii:
        return profile
    ordered = sorted(by_text.items(), key=lambda item: (-item[1], item[0]))
    return {
        **profile,
        "counts": dict(ordered[:TOP_CATEGORIES]),
        "other": sum(count for _, count in ordered[TOP_CATEGORIES:]),
    }


def prediction_profile(predictions: NDArray[np.float32], task: Task) -> dict[str, Any]:
    """Profile of the predictions: numeric, or the mean probability and share of each class."""
    if task != "multiclass":
        return numeric_profile(predictions)
    classes = predictions.shape[1]
    chosen = np.bincount(predictions.argmax(1), minlength=classes)
    return {
        "kind": "probabilities",
        "count": len(predictions),
        "mean": predictions.astype(np.float64).mean(0).tolist(),
        "chosen": chosen.tolist(),
    }


def label_profile(
    preprocessing: Preprocessing,
    table: pa.Table,
    rows: NDArray[np.int64],
    *,
    is_pii: bool = False,
) -> dict[str, Any]:
    """Share of ones, counts of classes, or a numeric profile, of the training rows' labels."""
    label = preprocessing.label
    encoded = label.encode(table, rows)
    if label.task == "binary":
        return {"kind": "binary", "count": len(encoded), "positive": float(encoded.mean())}
    if label.task == "multiclass":
        counts = np.bincount(encoded, minlength=len(label.classes))
        pairs = zip(label.classes, counts.tolist(), strict=True)
        return {"kind": "multiclass", "count": len(encoded), "counts": dict(pairs)}
    values = encoded.astype(np.float64) * label.deviation + label.mean
    return numeric_profile(values.astype(np.float32), is_pii=is_pii)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
