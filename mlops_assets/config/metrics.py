"""The metrics that a project may name, with the tasks they fit; no formulas here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Task = Literal["binary", "multiclass", "regression"]


@dataclass(frozen=True)
class MetricInfo:
    """What the config needs to know of a metric."""

    tasks: frozenset[str]
    goal: Literal["increase", "decrease"]


def _info(goal: Literal["increase", "decrease"], *tasks: str) -> MetricInfo:
    return MetricInfo(frozenset(tasks), goal)


METRICS: dict[str, MetricInfo] = {
    "roc_auc": _info("increase", "binary"),
    "average_precision": _info("increase", "binary"),
    "brier": _info("decrease", "binary"),
    "calibration_error": _info("decrease", "binary"),
    "f1": _info("increase", "binary"),
    "precision": _info("increase", "binary"),
    "recall": _info("increase", "binary"),
    "log_loss": _info("decrease", "binary", "multiclass"),
    "accuracy": _info("increase", "binary", "multiclass"),
    "macro_f1": _info("increase", "multiclass"),
    "rmse": _info("decrease", "regression"),
    "mae": _info("decrease", "regression"),
    "r2": _info("increase", "regression"),
}

DEFAULT_PRIMARY: dict[str, str] = {
    "binary": "roc_auc",
    "multiclass": "log_loss",
    "regression": "rmse",
}
