"""Default ``mlp`` against gradient boosting and a plain perceptron, on the same test rows.

    python -m benchmarks.accuracy [name …]

Gradient boosting is scikit-learn's HistGradientBoosting with its defaults, fitted on training and
validation rows together. The plain perceptron is scikit-learn's, with standardised numbers,
one-hot categories and early stopping.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.accuracy_data import DataSet, all_data_sets
from benchmarks.report import Report
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from mlops_assets.training.split import Split, split_rows
from mlops_assets.training.trainer import train

Predictions = np.ndarray


def project_for(data: DataSet, settings: dict[str, Any] | None = None) -> Project:
    """A project with default settings, except those given."""
    written: dict[str, Any] = {
        "description": data.name,
        "task": data.task,
        "sources": {"rows": {"type": "files", "uri": "rows"}},
        "features": {
            "query": "features.sql",
            "entity": "entity",
            "time": "time",
            "label": {"column": "label"},
            "inputs": {"numeric": list(data.numeric), "categorical": list(data.categorical)},
        },
        "evaluation": {"split": {"by": data.split_by}},
        **(settings or {}),
    }
    return Project(
        ProjectId("benchmarks", "accuracy"), ProjectSpec.model_validate(written), Path(), written
    )


def engine(data: DataSet, project: Project, split: Split) -> Predictions:
    """The engine's own training."""
    from mlops_assets.training.predicting import predict_torch

    with tempfile.TemporaryDirectory() as folder:
        result = train(data.table, split, project, checkpoints=Path(folder))
    return predict_torch(result.module, result.preprocessing, data.table, split.test)


def gradient_boosting(data: DataSet, _project: Project, split: Split) -> Predictions:
    """HistGradientBoosting with its defaults and native categories."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    inputs = _pandas_inputs(data, split)
    kind = HistGradientBoostingRegressor
    if data.task != "regression":
        kind = HistGradientBoostingClassifier
    return _fit_predict(kind(random_state=0), inputs, data, split)


def plain_perceptron(data: DataSet, _project: Project, split: Split) -> Predictions:
    """scikit-learn's perceptron of the same widths."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    inputs = _pandas_inputs(data, split)
    kind = MLPRegressor if data.task == "regression" else MLPClassifier
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    model = make_pipeline(
        make_column_transformer(
            (numbers, list(data.numeric)),
            (OneHotEncoder(handle_unknown="ignore", min_frequency=10), list(data.categorical)),
            sparse_threshold=0,
        ),
        kind(
            hidden_layer_sizes=(128, 64),
            early_stopping=True,
            max_iter=15 if len(split.train) > 50_000 else 200,
            random_state=0,
        ),
    )
    return _fit_predict(model, inputs, data, split)


def _pandas_inputs(data: DataSet, split: Split) -> pd.DataFrame:
    frame = data.table.select([*data.numeric, *data.categorical]).to_pandas()
    known = np.concatenate([split.train, split.validation])
    for name in data.categorical:
        # HistGradientBoosting takes at most 255 categories.
        frequent = frame[name].iloc[known].value_counts().index[:250]
        frame[name] = pd.Categorical(frame[name].where(frame[name].isin(frequent)))
    return frame


def _fit_predict(model: Any, inputs: pd.DataFrame, data: DataSet, split: Split) -> Predictions:
    known = np.concatenate([split.train, split.validation])
    label = data.table["label"].to_numpy()
    model.fit(inputs.iloc[known], label[known])
    if data.task == "regression":
        return model.predict(inputs.iloc[split.test])
    probabilities = model.predict_proba(inputs.iloc[split.test])
    return probabilities[:, 1] if data.task == "binary" else probabilities


CONTESTANTS: dict[str, Callable[[DataSet, Project, Split], Predictions]] = {
    "engine (defaults)": engine,
    "gradient boosting": gradient_boosting,
    "plain perceptron": plain_perceptron,
}


def figures(data: DataSet, split: Split, predictions: Predictions) -> dict[str, float]:
    """Metrics of the test rows."""
    from sklearn import metrics

    truth = data.table["label"].take(pa.array(split.test)).to_numpy(zero_copy_only=False)
    if data.task == "binary":
        return {
            "roc_auc": metrics.roc_auc_score(truth, predictions),
            "log_loss": metrics.log_loss(truth, predictions.astype(float)),
        }
    if data.task == "multiclass":
        classes = np.unique(data.table["label"].to_numpy(zero_copy_only=False))
        normal = predictions.astype(float) / predictions.astype(float).sum(1, keepdims=True)
        return {
            "accuracy": metrics.accuracy_score(truth, classes[predictions.argmax(1)]),
            "log_loss": metrics.log_loss(truth, normal, labels=classes),
        }
    return {
        "rmse": metrics.root_mean_squared_error(truth, predictions),
        "r2": metrics.r2_score(truth, predictions),
    }


def compare(data: DataSet, contestants: dict[str, Any]) -> list[dict[str, Any]]:
    """One line for each contestant."""
    project = project_for(data)
    split = split_rows(data.table, project.spec)
    lines = []
    for name, contestant in contestants.items():
        started = time.perf_counter()
        predictions = contestant(data, project, split)
        seconds = time.perf_counter() - started
        lines.append({"model": name, "seconds": seconds, **figures(data, split, predictions)})
    return lines


def run(names: Sequence[str] = ()) -> Report:
    """Compare on the named data sets, or on all."""
    makers = all_data_sets()
    rows = []
    for name in names or makers:
        data = makers[name]()
        for line in compare(data, CONTESTANTS):
            rows.append(_told(data, line))
            print("  ".join(rows[-1].values()), file=sys.stderr, flush=True)
    text = (
        "Default `mlp` against scikit-learn's HistGradientBoosting (defaults) and MLP (same "
        "widths, standardised numbers, one-hot categories), on the same test rows. The engine and "
        "the perceptron stop early by validation rows."
    )
    return Report("Accuracy on tabular data", text, rows)


def _told(data: DataSet, line: dict[str, Any]) -> dict[str, str]:
    (first, value), (second, other) = list(line.items())[2:]
    return {
        "data": f"{data.name} ({data.task}, {data.table.num_rows:,} rows, by {data.split_by})",
        "model": line["model"],
        "metric": f"{first} {value:.4f}",
        "second metric": f"{second} {other:.4f}",
        "seconds": f"{line['seconds']:.1f}",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(all_data_sets())}")
    print(run(parser.parse_args().names).render())
