"""Training rows as tensors, where they fit. Imports torch: import it inside functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlops_assets.training.core import NumericEncoder
from mlops_assets.training.device import Compute, memory_budget, torch_device
from mlops_assets.training.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_CHUNK = 65_536


@dataclass(frozen=True)
class TensorRows:
    """Rows as tensors.

    Attributes:
        numeric: Encoded numbers if ``encoder`` is ``None``, else raw ones.
        categorical: Category indices.
        target: What the loss compares with.
        encoder: Encodes each batch, when all encoded rows together would not fit.
        device: Where batches are needed.
    """

    numeric: Tensor
    categorical: Tensor
    target: Tensor
    encoder: NumericEncoder | None
    device: torch.device

    def __len__(self) -> int:
        return len(self.target)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoded numbers, category indices and targets of these rows, on the device."""
        home = self.target.device
        rows = rows if rows.device == home else rows.to(home)
        parts = [
            tensor.index_select(0, rows).to(self.device)
            for tensor in (self.numeric, self.categorical, self.target)
        ]
        numeric = parts[0] if self.encoder is None else self.encoder(parts[0])
        return numeric, parts[1], parts[2]


def place_rows(
    table: pa.Table,
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
    encoder: NumericEncoder,
    compute: Compute,
    *,
    budget: int | None = None,
) -> TensorRows:
    """Rows on the device, encoded once, if that fits; else raw there; else in main memory.

    Args:
        table: Features.
        rows: Which of them.
        preprocessing: Fitted preprocessing.
        encoder: Its graph, on the device.
        compute: The device.
        budget: Bytes that the rows may take; by default a share of what is free.
    """
    numeric = torch.from_numpy(preprocessing.numbers(table, rows))
    categorical = torch.from_numpy(preprocessing.categories(table, rows))
    target = torch.from_numpy(preprocessing.label.encode(table, rows))
    return place_tensors(numeric, categorical, target, encoder, compute, budget=budget)


def place_tensors(
    numeric: Tensor,
    categorical: Tensor,
    target: Tensor,
    encoder: NumericEncoder,
    compute: Compute,
    *,
    budget: int | None = None,
) -> TensorRows:
    """As :func:`place_rows`, from raw numbers, category indices and targets in main memory."""
    device = torch_device(compute)
    budget = memory_budget(compute.device) if budget is None else budget
    raw_bytes = numeric.nbytes + categorical.nbytes + target.nbytes
    encoded_bytes = 4 * len(target) * encoder.width
    if raw_bytes <= budget:
        numeric, categorical, target = (
            tensor.to(device) for tensor in (numeric, categorical, target)
        )
    if raw_bytes + encoded_bytes > budget:
        return TensorRows(numeric, categorical, target, encoder, device)
    encoded = _encode(numeric, encoder, encoder.width)
    return TensorRows(encoded, categorical, target, None, device)


@torch.no_grad()
def _encode(numeric: Tensor, encoder: NumericEncoder, width: int) -> Tensor:
    encoded = torch.empty(len(numeric), width, dtype=torch.float32, device=numeric.device)
    for start in range(0, len(numeric), _CHUNK):
        encoded[start : start + _CHUNK] = encoder(numeric[start : start + _CHUNK])
    return encoded
