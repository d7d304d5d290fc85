"""The module that is trained, saved and exported. Imports torch: import it inside functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mlops_assets.config.model import ModelSpec
from mlops_assets.config.project import Project
from mlops_assets.models import ModelInputs, build_module
from mlops_assets.training.preprocessing import Preprocessing

_LARGEST = 1e30
_SCALED_LIMIT = 100.0
_SOFT_LIMIT = 3.0


class NumericEncoder(nn.Module):
    """Raw numbers, NaN where missing, to scaled numbers, missing indicators and bins.

    Scaling is by median and interquartile range, followed by the smooth clipping
    ``z / sqrt(1 + (z / 3)²)`` (Holzmüller et al. 2024, "Better by Default", section 3). Bins are
    the piecewise-linear encoding of Gorishniy et al. 2022, section 3.2, clipped at both ends.
    """

    median: Tensor
    scale: Tensor
    indicated: Tensor
    binned: Tensor
    lower: Tensor
    reciprocal: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        columns = preprocessing.numeric
        self.width = len(preprocessing.encoded_names)
        self._float("median", [column.median for column in columns])
        self._float("scale", [column.scale for column in columns])
        indicated = [place for place, column in enumerate(columns) if column.has_missing]
        self._long("indicated", indicated)
        binned, lower, reciprocal = [], [], []
        for place, column in enumerate(columns):
            edges = torch.tensor(column.edges, dtype=torch.float64)
            binned += [place] * max(0, len(column.edges) - 1)
            lower += edges[:-1].tolist()
            reciprocal += (1 / edges.diff()).tolist()
        self._long("binned", binned)
        self._float("lower", lower)
        self._float("reciprocal", reciprocal)

    def _float(self, name: str, values: list[float]) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def _long(self, name: str, values: list[int]) -> None:
        self.register_buffer(name, torch.tensor(values, dtype=torch.int64))

    def forward(self, numeric: Tensor) -> Tensor:
        """float32 ``[N, len(preprocessing.encoded_names)]``."""
        missing = torch.isnan(numeric)
        known = torch.where(missing, self.median, numeric).clamp(-_LARGEST, _LARGEST)
        scaled = ((known - self.median) * self.scale).clamp(-_SCALED_LIMIT, _SCALED_LIMIT)
        parts = [scaled / torch.sqrt(1 + (scaled / _SOFT_LIMIT) ** 2)]
        if len(self.indicated):
            parts.append(missing.index_select(1, self.indicated).to(torch.float32))
        if len(self.binned):
            spread = known.index_select(1, self.binned)
            parts.append(((spread - self.lower) * self.reciprocal).clamp(0.0, 1.0))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


class Core(nn.Module):
    """Raw numbers and category indices in, the answer in the label's own unit out.

    Attributes:
        encoder: Fitted preprocessing of numbers.
        network: The model family's module.
    """

    label_mean: Tensor
    label_deviation: Tensor

    def __init__(self, preprocessing: Preprocessing, network: nn.Module) -> None:
        super().__init__()
        self.task = preprocessing.task
        self.encoder = NumericEncoder(preprocessing)
        self.network = network
        label = preprocessing.label
        self.register_buffer("label_mean", torch.tensor(label.mean, dtype=torch.float32))
        self.register_buffer("label_deviation", torch.tensor(label.deviation, dtype=torch.float32))

    def answer(self, scores: Tensor) -> Tensor:
        """Raw scores to probabilities or to the label's unit, float32 ``[N, 1 or K]``."""
        if self.task == "binary":
            return torch.sigmoid(scores)
        if self.task == "multiclass":
            return torch.softmax(scores, 1)
        return scores * self.label_deviation + self.label_mean

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """The answer for raw numbers ``[N, F]`` and category indices ``[N, C]``."""
        return self.answer(self.network(self.encoder(numeric), categorical))


def build_core(project: Project, preprocessing: Preprocessing) -> Core:
    """The untrained module; seed torch first for the same weights.

    Raises:
        ConfigError: A custom model's file is unusable.
    """
    return core_of(project.spec.model, project.directory, project.files, preprocessing)


def core_of(
    model: ModelSpec, directory: Path, files: Mapping[str, str], preprocessing: Preprocessing
) -> Core:
    """As :func:`build_core`, from the parts of a project that decide the module."""
    inputs = ModelInputs(
        numeric=preprocessing.encoded_names,
        cardinalities=preprocessing.cardinalities,
        outputs=preprocessing.label.outputs,
        directory=directory,
        files=files,
    )
    return Core(preprocessing, build_module(model, inputs))
