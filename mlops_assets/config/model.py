"""``model:`` the model family."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mlops_assets.config.base import Spec
from mlops_assets.config.features import RelativeFile


class MlpModel(Spec):
    """Multi-layer perceptron over scaled numbers and category embeddings."""

    type: Literal["mlp"] = "mlp"
    """``mlp``"""
    hidden: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(
        default=(128, 64), min_length=1
    )
    """Widths of the hidden layers."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of hidden units dropped in training."""
    numeric_embedding: Literal["none", "piecewise_linear"] = "piecewise_linear"
    """How numbers enter: as they are, or encoded by quantile bins (Gorishniy et al. 2022,
    "On Embeddings for Numerical Features in Tabular Deep Learning", section 3.2)."""
    bins: int = Field(default=16, ge=2, le=256)
    """Quantile bins for each number with ``piecewise_linear``."""
    max_embedding: int = Field(default=8, ge=1, le=1024)
    """Widest category embedding."""


class CustomModel(Spec):
    """A team's own ``nn.Module``, from a file in the project's folder."""

    type: Literal["custom"]
    """``custom``"""
    file: RelativeFile = "model.py"
    """File with ``build_model(inputs, **params)``, which returns the module."""
    params: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies defaults
    """Keyword arguments for ``build_model``."""


DEFAULT_MODEL = "mlp"


def _mlp_by_default(written: Any) -> Any:
    is_untyped = isinstance(written, dict) and "type" not in written
    return {"type": DEFAULT_MODEL, **written} if is_untyped else written


ModelSpec = Annotated[
    MlpModel | CustomModel, Field(discriminator="type"), BeforeValidator(_mlp_by_default)
]
