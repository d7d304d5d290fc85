"""``mlp``: perceptron over scaled and binned numbers and category embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.config.model import MlpModel
from mlops_assets.models.inputs import ModelInputs

if TYPE_CHECKING:
    from torch import nn

SPEC = MlpModel


def numeric_bins(spec: MlpModel) -> int:
    """Bins of the piecewise-linear encoding."""
    return spec.bins if spec.numeric_embedding == "piecewise_linear" else 0


def build(spec: MlpModel, inputs: ModelInputs) -> nn.Module:
    """An untrained perceptron."""
    from mlops_assets.models.mlp_network import MlpNetwork

    return MlpNetwork(
        numeric=len(inputs.numeric),
        cardinalities=inputs.cardinalities,
        outputs=inputs.outputs,
        hidden=spec.hidden,
        dropout=spec.dropout,
        max_embedding=spec.max_embedding,
    )
