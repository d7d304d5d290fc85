"""Metrics that are shown while a model trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mlops_assets.training.losses import epoch_metrics
from mlops_assets.training.preprocessing import fit_preprocessing


@pytest.fixture
def label(make_project, table, tmp_path: Path):
    return fit_preprocessing(table, np.arange(600), make_project().spec, 0).label


@pytest.mark.parametrize(
    "scores",
    [
        np.random.default_rng(1).normal(size=500),
        np.random.default_rng(2).integers(-3, 3, 500),
        np.zeros(500),
        np.arange(500),
    ],
    ids=["random", "ties", "constant", "ordered"],
)
def test_the_area_under_the_curve_is_that_of_scikit_learn(label, scores: np.ndarray) -> None:
    truth = (np.arange(500) + np.random.default_rng(0).normal(0, 200, 500) > 250).astype(float)
    metrics = epoch_metrics(label, torch.tensor(scores).reshape(-1, 1), torch.tensor(truth))

    assert metrics["roc_auc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert metrics["accuracy"] == pytest.approx(((scores > 0) == truth).mean())


def test_one_class_alone_has_no_area(label) -> None:
    metrics = epoch_metrics(label, torch.tensor([[1.0], [2.0]]), torch.ones(2))

    assert metrics == {"accuracy": 1.0}
