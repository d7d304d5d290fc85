"""Finds the model family that builds a spec."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from mlops_assets.errors import ConfigError
from mlops_assets.models.inputs import ModelInputs

if TYPE_CHECKING:
    from torch import nn


class ModelFamily(Protocol):
    """What a module of this package offers to be a model family."""

    SPEC: type[Any]

    def build(self, spec: Any, inputs: ModelInputs) -> nn.Module:
        """An untrained module."""

    def numeric_bins(self, spec: Any) -> int:
        """Quantile bins by which numbers are also encoded; 0 for none."""


@cache
def _families() -> dict[str, ModelFamily]:
    package = importlib.import_module("mlops_assets.models")
    found: dict[str, ModelFamily] = {}
    for info in pkgutil.iter_modules(package.__path__):
        if info.name.endswith("_network"):
            continue
        module: Any = importlib.import_module(f"{package.__name__}.{info.name}")
        if hasattr(module, "SPEC"):
            found[_type_name(module.SPEC)] = module
    return found


def _type_name(spec: type[Any]) -> str:
    (name,) = spec.model_fields["type"].annotation.__args__
    return str(name)


def model_types() -> tuple[str, ...]:
    """Types that ``model: {type: …}`` may name."""
    return tuple(sorted(_families()))


def _family(spec: Any) -> ModelFamily:
    family = _families().get(spec.type)
    if family is None:
        raise ConfigError(
            "no such model family",
            where="model.type",
            found=spec.type,
            expected=" or ".join(model_types()),
        )
    return family


def numeric_bins(spec: Any) -> int:
    """Quantile bins by which the family wants numbers to be encoded too; 0 for none."""
    return _family(spec).numeric_bins(spec)


def build_module(spec: Any, inputs: ModelInputs) -> nn.Module:
    """An untrained module of the spec's family; seed torch first for the same weights.

    Raises:
        ConfigError: The family is unknown, or a custom file is unusable.
    """
    return _family(spec).build(spec, inputs)
