"""Predictions of the trained module itself. Imports torch: import it inside functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mlops_assets.training.core import Core
from mlops_assets.training.preprocessing import Preprocessing

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_BATCH = 16_384


@torch.no_grad()
def predict_torch(
    core: Core,
    preprocessing: Preprocessing,
    table: pa.Table,
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """float32 ``(N,)``, or ``(N, K)`` for multiclass, of a module on the CPU."""
    numeric = torch.from_numpy(preprocessing.numbers(table, rows))
    categorical = torch.from_numpy(preprocessing.categories(table, rows))
    parts = [
        core(numeric[start : start + _BATCH], categorical[start : start + _BATCH])
        for start in range(0, len(numeric), _BATCH)
    ]
    answers: NDArray[np.float32] = torch.cat(parts).numpy()
    return answers if preprocessing.task == "multiclass" else answers[:, 0]
