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
    is_share: bool
    """Whether values lie between 0 and 1."""


def _share(goal: Literal["increase", "decrease"], *tasks: str) -> MetricInfo:
    return MetricInfo(frozenset(tasks), goal, is_share=True)


def _open(goal: Literal["increase", "decrease"], *tasks: str) -> MetricInfo:
    return MetricInfo(frozenset(tasks), goal, is_share=False)


METRICS: dict[str, MetricInfo] = {
    "roc_auc": _share("increase", "binary"),
    "average_precision": _share("increase", "binary"),
    "brier": _share("decrease", "binary"),
    "calibration_error": _share("decrease", "binary"),
    "f1": _share("increase", "binary"),
    "precision": _share("increase", "binary"),
    "recall": _share("increase", "binary"),
    "log_loss": _open("decrease", "binary", "multiclass"),
    "accuracy": _share("increase", "binary", "multiclass"),
    "macro_f1": _share("increase", "multiclass"),
    "rmse": _open("decrease", "regression"),
    "mae": _open("decrease", "regression"),
    "r2": _open("increase", "regression"),
}

DEFAULT_PRIMARY: dict[str, str] = {
    "binary": "roc_auc",
    "multiclass": "log_loss",
    "regression": "rmse",
}
