"""Profiles of a window's columns, counted in the bins of the reference as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.training.reference import categorical_profile, numeric_profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

Values = "pa.ChunkedArray | pa.Array | NDArray[Any] | list[Any]"


def profile_columns(
    columns: Mapping[str, Any], reference: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """One pass over each column that the reference knows.

    Args:
        columns: Arrow columns or arrays of one length, by name.
        reference: Profiles by name; their kinds and bins decide.
    """
    return {
        name: _numeric(values, reference[name])
        if reference[name]["kind"] == "numeric"
        else _categorical(values, reference[name])
        for name, values in columns.items()
        if name in reference
    }


def _numeric(values: Any, reference: Mapping[str, Any]) -> dict[str, Any]:
    numbers = _to_numpy(values)
    profile = numeric_profile(numbers, is_pii=bool(reference.get("pii")))
    if "edges" in reference and "edges" in profile:
        known = numbers[np.isfinite(numbers)].astype(np.float64)
        edges = np.asarray(reference["edges"])
        profile["reference_counts"] = np.histogram(np.clip(known, edges[0], edges[-1]), edges)[
            0
        ].tolist()
    return profile


def _categorical(values: Any, reference: Mapping[str, Any]) -> dict[str, Any]:
    import pyarrow as pa

    from mlops_assets.training.encoding import text_codes

    column = values if isinstance(values, pa.ChunkedArray | pa.Array) else pa.array(values)
    codes, texts = text_codes(pa.table({"x": column}), "x")
    counts = np.bincount(codes, minlength=len(texts))
    return categorical_profile(
        texts, counts, reference.get("counts", {}), is_pii=bool(reference.get("pii"))
    )


def _to_numpy(values: Any) -> NDArray[np.float32]:
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray | pa.Array):
        if not pa.types.is_floating(values.type):
            values = values.cast(pa.float64())
        values = (
            values.to_numpy(zero_copy_only=False)
            if isinstance(values, pa.Array)
            else (values.to_numpy())
        )
    numbers: NDArray[np.float32] = np.asarray(values, dtype=np.float32)
    return numbers
