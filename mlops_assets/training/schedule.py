"""Batch size and learning rate where the project leaves them to us."""

from __future__ import annotations

import math

from mlops_assets.config.training import TrainingSpec

_STEPS_AN_EPOCH = 48
_SMALLEST_BATCH = 32
_LARGEST_BATCH = 4096
_RATE = 4e-3
_WARMUP = 0.02


def batch_size(spec: TrainingSpec, rows: int) -> int:
    """Rows a step: as written, or the power of two that gives about 48 steps an epoch."""
    if spec.batch_size != "auto":
        return min(spec.batch_size, rows)
    wanted: int = 2 ** round(math.log2(max(1, rows / _STEPS_AN_EPOCH)))
    return min(rows, max(_SMALLEST_BATCH, min(_LARGEST_BATCH, wanted)))


def peak_rate(spec: TrainingSpec) -> float:
    """Peak learning rate: as written, or one that did well or best on all data of the benchmark.

    One rate suits all automatic batch sizes, because small batches come with small data, where
    fewer steps are taken.
    """
    return _RATE if spec.learning_rate == "auto" else spec.learning_rate


def rate_factor(progress: float) -> float:
    """Share of the peak rate after this share of the planned training: warm-up, then cosine."""
    return min(1.0, progress / _WARMUP) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
