"""Model families: one file each, found by the type of spec that they build."""

from mlops_assets.models.inputs import ModelInputs
from mlops_assets.models.registry import build_module, model_types, numeric_bins

__all__ = ["ModelInputs", "build_module", "model_types", "numeric_bins"]
