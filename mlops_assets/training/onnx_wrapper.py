"""A module with numbers only, or categories only. Imports torch: import it inside functions."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OneKindOfInput(nn.Module):
    """Gives a core an empty matrix in place of the kind of input that the project has not.

    Args:
        core: Takes numbers and categories.
        present: ``numeric`` or ``categorical``: the kind that there is.
    """

    def __init__(self, core: nn.Module, present: str) -> None:
        super().__init__()
        self.core = core
        self.present = present

    def forward(self, values: Tensor) -> Tensor:
        """The core's answer."""
        kind = torch.int64 if self.present == "numeric" else torch.float32
        empty = torch.zeros(values.shape[0], 0, dtype=kind)
        pair = (values, empty) if self.present == "numeric" else (empty, values)
        answer: Tensor = self.core(*pair)
        return answer
