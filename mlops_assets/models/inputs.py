"""What a model family is told about its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ModelInputs:
    """Shapes and names of what a module receives.

    The module's ``forward(numeric, categorical)`` gets ``numeric`` as float32 ``[N, len(numeric)]``
    without missing values, scaled to about -3 … 3, and ``categorical`` as int64
    ``[N, len(cardinalities)]``. It returns raw scores, float32 ``[N, outputs]``: one logit for a
    binary task, one logit a class for multiclass, the standardised label for regression.

    Attributes:
        numeric: Names of the columns of ``numeric``: the inputs themselves, then
            ``<input>__missing`` (0 or 1) for each input that has missing values, then
            ``<input>__bin_<i>`` where the family asks for bins.
        cardinalities: For each categorical input, the number of indices: 0 is missing, 1 is
            unseen or rare, the others are the known categories.
        outputs: Scores for each row.
        directory: The project's folder.
        files: Text of the project's files as they were when the project was loaded.
    """

    numeric: tuple[str, ...]
    cardinalities: tuple[int, ...]
    outputs: int
    directory: Path
    files: Mapping[str, str] = field(default_factory=dict)
