"""Bundles: the same training gives the same bytes; raw values go in; nothing else gets through."""

from __future__ import annotations

import json
import math
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from mlops_assets.errors import BundleError, ParityError
from mlops_assets.training.bundle import Bundle, open_bundle
from mlops_assets.training.bundle_safety import file_table_id
from mlops_assets.training.bundle_schema import SIZE_LIMITS
from mlops_assets.training.bundle_writer import write_bundle
from mlops_assets.training.core import build_core
from mlops_assets.training.golden import UNSEEN
from mlops_assets.training.key import training_key
from mlops_assets.training.predicting import predict_torch
from mlops_assets.training.preprocessing import Preprocessing
from mlops_assets.training.scoring import onnx_feeds, score
from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train

VERSIONS = {"features_version": "sha256:" + "1" * 64, "code_version": "1"}


def _write(directory: Path, project, result, table, split) -> Bundle:
    directory.mkdir()
    write_bundle(directory, project, result, table, split, **VERSIONS)
    return open_bundle(directory)


@pytest.fixture(scope="module")
def trained(shared_project, shared_table, tmp_path_factory):
    """A project, its training, the table and the split."""
    project = shared_project(training={"epochs": 2}, deployment={"golden_rows": 16})
    split = split_rows(shared_table, project.spec)
    checkpoints = tmp_path_factory.mktemp("checkpoints")
    result = train(shared_table, split, project, checkpoints=checkpoints)
    return project, result, shared_table, split


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory) -> Path:
    return _write(tmp_path_factory.mktemp("bundles") / "bundle", *trained).directory


@pytest.fixture
def bundle(written, tmp_path) -> Bundle:
    """A copy of the bundle, to do anything with."""
    shutil.copytree(written, tmp_path / "bundle")
    return open_bundle(tmp_path / "bundle")


def test_the_same_training_gives_the_same_id(trained, bundle, tmp_path):
    project, _, table, split = trained
    again = train(table, split, project, checkpoints=tmp_path / "other")
    copy = _write(tmp_path / "copy", project, again, table, split)

    assert copy.id == bundle.id
    for name in bundle.info.files:
        assert (copy.directory / name).read_bytes() == (bundle.directory / name).read_bytes(), name


def test_no_file_names_this_machine(bundle):
    for name in SIZE_LIMITS:
        body = (bundle.directory / name).read_bytes() if name != "model.py" else b""
        places = [str(Path.home()), str(Path.cwd()), "site-packages", "/home/", "/tmp/"]
        assert not re.search("|".join([*map(re.escape, places), r"\.py\b"]).encode(), body), name


def test_raw_strings_go_in_and_torch_agrees(trained, bundle):
    _, result, table, _ = trained
    awkward = (
        table.slice(0, 4)
        .set_column(4, "carrier", pa.array(["AA", "never seen", None, ""]))
        .set_column(2, "distance", pa.array([None, float("inf"), 1.0, float("nan")], pa.float32()))
    )
    both = pa.concat_tables([table, awkward.cast(table.schema)])

    answers = score(bundle, both)

    assert answers.shape == (604,)
    assert answers.dtype == np.float32
    assert np.isfinite(answers).all()
    np.testing.assert_allclose(
        answers, predict_torch(result.module, result.preprocessing, both), atol=1e-5
    )
    assert answers[602] == pytest.approx(answers[602])


def test_an_unseen_and_a_missing_category_are_not_taken_for_a_known_one(bundle, table):
    row = table.slice(0, 1)
    answers = {}
    for carrier in ("AA", "BB", "unseen", None):
        changed = row.set_column(4, "carrier", pa.array([carrier], pa.string()))
        answers[carrier] = float(score(bundle, changed)[0])

    assert len({round(value, 6) for name, value in answers.items() if name in {"AA", "BB"}}) == 2
    # Both buckets are untrained here, so both get the average category.
    assert answers["unseen"] == pytest.approx(answers[None])
    assert answers["unseen"] != pytest.approx(answers["AA"])


def test_one_tensor_for_each_column_and_any_batch_size(bundle, table):
    session = onnxruntime.InferenceSession(str(bundle.onnx_path))
    inputs = {item.name: (item.type, item.shape) for item in session.get_inputs()}
    (output,) = session.get_outputs()

    assert inputs == {
        "distance": ("tensor(float)", ["batch", 1]),
        "wind": ("tensor(float)", ["batch", 1]),
        "carrier": ("tensor(string)", ["batch", 1]),
        "dest": ("tensor(string)", ["batch", 1]),
    }
    assert (output.name, output.type, output.shape) == (
        "probability",
        "tensor(float)",
        ["batch", 1],
    )
    whole = score(bundle, table.slice(0, 300))
    for rows in (1, 2, 7, 255, 300):
        feeds = onnx_feeds(table.slice(0, rows), bundle.schema)
        answers = session.run(["probability"], feeds)[0]
        np.testing.assert_allclose(answers[:, 0], whole[:rows], atol=1e-6)


def test_the_graph_suits_older_runtimes(bundle):
    model = onnx.load(bundle.onnx_path)

    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 9
    assert {item.domain: item.version for item in model.opset_import} == {"": 18, "ai.onnx.ml": 2}


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_answer_in_their_own_form(make_project, labelled, tmp_path, task):
    project = make_project(task=task, training={"epochs": 2})
    table = labelled(400, task)
    split = split_rows(table, project.spec)
    result = train(table, split, project, checkpoints=tmp_path / "checkpoints")
    bundle = _write(tmp_path / "bundle", project, result, table, split)

    answers = score(bundle, table)

    if task == "multiclass":
        assert bundle.schema.classes == ("high", "low", "mid")
        assert bundle.schema.output_name == "probabilities"
        assert answers.shape == (400, 3)
        np.testing.assert_allclose(answers.sum(1), 1, atol=1e-5)
        assert bundle.golden().onnx.shape[1] == 3
    else:
        assert bundle.schema.output_name == "prediction"
        assert answers.shape == (400,)
        assert 60 < answers.mean() < 140, "in the label's own unit"


@pytest.mark.parametrize("inputs", [("distance", "wind"), ("carrier", "dest")])
def test_numbers_alone_and_categories_alone_are_served(make_project, table, tmp_path, inputs):
    kind = "numeric" if inputs[0] == "distance" else "categorical"
    empty = {"numeric": [], "categorical": []}
    project = make_project(
        features={"inputs": {**empty, kind: list(inputs)}}, training={"epochs": 1}
    )
    split = split_rows(table, project.spec)
    result = train(table, split, project, checkpoints=tmp_path / "checkpoints")

    bundle = _write(tmp_path / "bundle", project, result, table, split)

    assert np.isfinite(score(bundle, table)).all()


def test_a_custom_model_travels_with_its_file(custom_project, table, tmp_path):
    source = (
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, n, k):\n"
        "        super().__init__()\n"
        "        self.norm = torch.nn.BatchNorm1d(n)\n"
        "        self.out = torch.nn.Linear(n, k)\n"
        "    def forward(self, numeric, categorical):\n"
        "        return self.out(self.norm(numeric)) + categorical[:, :1] * 0.1\n"
        "def build_model(inputs): return Net(len(inputs.numeric), inputs.outputs)\n"
    )
    project = custom_project(source, epochs=2)
    split = split_rows(table, project.spec)
    result = train(table, split, project, checkpoints=tmp_path / "checkpoints")
    bundle = _write(tmp_path / "bundle", project, result, table, split)

    assert (bundle.directory / "model.py").read_text() == source
    np.testing.assert_allclose(
        score(bundle, table), predict_torch(result.module, result.preprocessing, table), atol=1e-5
    )


def test_golden_rows_hold_known_unseen_and_missing_values(bundle, trained, tmp_path):
    golden = bundle.golden()
    json.dumps(golden.to_dict(), allow_nan=False)

    assert len(golden.onnx) == len(golden.torch) == 16
    assert golden.inputs["distance"][0] is None
    assert golden.inputs["carrier"][:3] == ["", UNSEEN, "AA"]
    assert {"AA", "BB", "CC"} & set(golden.inputs["carrier"][3:])
    np.testing.assert_allclose(golden.onnx, golden.torch, atol=1e-5)
    rows = pa.table(
        {
            **{name: pa.array(golden.inputs[name], pa.float32()) for name in ("distance", "wind")},
            **{name: pa.array(golden.inputs[name]) for name in ("carrier", "dest")},
        }
    )
    np.testing.assert_allclose(score(bundle, rows), golden.onnx, atol=1e-6)


def test_the_weights_rebuild_the_module(bundle, trained):
    project, _, table, _ = trained
    preprocessing = Preprocessing.from_dict(bundle.preprocessing)
    core = build_core(project, preprocessing)
    core.load_state_dict(load_file(bundle.directory / "weights.safetensors"))

    np.testing.assert_allclose(
        predict_torch(core.eval(), preprocessing, table), score(bundle, table), atol=1e-5
    )


def test_the_reference_profile_matches_the_training_rows(bundle, trained):
    _, _, table, split = trained
    profile = bundle.reference["inputs"]
    train_rows = table.take(pa.array(split.train))
    wind, carrier = profile["wind"], profile["carrier"]

    assert sum(wind["counts"]) == len(split.train)
    assert wind["mean"] == pytest.approx(train_rows["wind"].to_numpy().mean(), rel=1e-5)
    assert len(wind["edges"]) == len(wind["counts"]) + 1 == 21
    assert carrier["counts"] == {
        item["values"]: item["counts"] for item in train_rows["carrier"].value_counts().to_pylist()
    }
    missing = train_rows["distance"].null_count / len(split.train)
    assert profile["distance"]["missing"] == pytest.approx(missing)
    label = train_rows["label"].to_numpy().mean()
    assert bundle.reference["label"]["positive"] == pytest.approx(label)
    assert bundle.reference["prediction"]["count"] == len(split.test)


def test_personal_data_stay_out_of_all_documents(make_project, table, tmp_path):
    project = make_project(features={"pii": ["carrier", "wind"]}, training={"epochs": 1})
    split = split_rows(table, project.spec)
    result = train(table, split, project, checkpoints=tmp_path / "checkpoints")
    bundle = _write(tmp_path / "bundle", project, result, table, split)

    assert set(bundle.golden().inputs["carrier"]) == {"", UNSEEN}
    real = bundle.golden().inputs["wind"][3:]
    assert real and all(value is None for value in real)
    for name in ("carrier", "wind"):
        assert not {"counts", "sample", "edges", "min"} & set(bundle.reference["inputs"][name])
    assert "sample" in bundle.reference["inputs"]["distance"]


def test_a_planted_disagreement_is_caught(trained, tmp_path, monkeypatch):
    """The served graph has other weights than the module: nothing may be written."""
    project, result, table, split = trained
    from mlops_assets.training import bundle_writer

    def tampered(core, preprocessing):
        with torch.no_grad():
            core.network.layers[-1].bias += 0.05
        body = export(core, preprocessing)
        with torch.no_grad():
            core.network.layers[-1].bias -= 0.05
        return body

    export = bundle_writer.export_onnx
    monkeypatch.setattr(bundle_writer, "export_onnx", tampered)
    (tmp_path / "bundle").mkdir()

    with pytest.raises(ParityError, match=r"values differ.*\n.*found: row \d+, output 0") as e:
        write_bundle(tmp_path / "bundle", project, result, table, split, **VERSIONS)

    assert "torch against ONNX Runtime" in str(e.value)
    assert not list((tmp_path / "bundle").iterdir())


def test_the_metrics_are_those_of_the_best_epoch_without_timings(bundle, trained):
    _, result, _, _ = trained
    best = result.history[result.best_epoch - 1]

    assert bundle.metrics["validation"]["loss"] == best.validation_loss
    assert bundle.metrics["validation"]["roc_auc"] == best.metrics["roc_auc"]
    assert [epoch["epoch"] for epoch in bundle.metrics["history"]] == [1, 2]
    assert not {"seconds", "rows_per_second"} & set(bundle.metrics["history"][0])


def test_the_split_says_until_when_the_model_was_trained(bundle, trained):
    assert bundle.split["train_until"] == trained[3].train_until.isoformat()
    assert bundle.split["by"] == "time"


# --- what open_bundle refuses ---------------------------------------------------------------


def _rewrite(bundle: Bundle, name: str, body: bytes) -> None:
    """Change a file and everything that a careful forger would change with it."""
    import hashlib

    (bundle.directory / name).write_bytes(body)
    files = {**bundle.info.files}
    files[name] = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    _rewrite_table(bundle, files)


def _rewrite_table(bundle: Bundle, files: dict) -> None:
    document = {"format": 1, "id": file_table_id(files), "files": files}
    (bundle.directory / "bundle.json").write_text(json.dumps(document))


class _Evil:
    def __reduce__(self):
        return (Path.touch, (Path("pickle-was-loaded"),))


def test_a_pickle_posing_as_weights_is_refused(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _rewrite(bundle, "weights.safetensors", pickle.dumps(_Evil()))

    with pytest.raises(BundleError, match="no safetensors"):
        open_bundle(bundle.directory)
    assert not (tmp_path / "pickle-was-loaded").exists()


@pytest.mark.parametrize("body", [pickle.dumps(_Evil()), b"", b"PK\x03\x04 zip", b"\x00" * 64])
def test_anything_but_onnx_is_refused(bundle, body):
    _rewrite(bundle, "model.onnx", body)

    with pytest.raises(BundleError):
        open_bundle(bundle.directory)


@pytest.mark.parametrize("location", ["../../secret", "/etc/passwd", "weights.safetensors"])
@pytest.mark.parametrize("place", ["initializer", "attribute", "branch"])
def test_onnx_external_data_are_refused_wherever_they_point(bundle, location, place):
    model = onnx.load(bundle.onnx_path)
    tensor = onnx.TensorProto(name="planted", data_type=1, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    if place == "initializer":
        model.graph.initializer.append(tensor)
    elif place == "attribute":
        model.graph.node.append(onnx.helper.make_node("Constant", [], ["planted"], value=tensor))
    else:
        inner = onnx.helper.make_graph([], "inner", [], [], [tensor])
        node = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
        model.graph.node.append(node)
    _rewrite(bundle, "model.onnx", model.SerializeToString())

    with pytest.raises(BundleError, match="another file") as caught:
        open_bundle(bundle.directory)
    assert location in str(caught.value)


def test_operators_of_other_libraries_are_refused(bundle):
    model = onnx.load(bundle.onnx_path)
    model.graph.node.append(onnx.helper.make_node("PyOp", ["wind"], ["z"], domain="ai.evil"))
    _rewrite(bundle, "model.onnx", model.SerializeToString())

    with pytest.raises(BundleError, match="another library"):
        open_bundle(bundle.directory)


def test_extra_files_are_refused(bundle):
    (bundle.directory / "weights.pkl").write_bytes(pickle.dumps({}))

    with pytest.raises(BundleError, match="unknown"):
        open_bundle(bundle.directory)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "sub/file.json", "weights.pt"])
def test_paths_and_unknown_names_in_the_table_are_refused(bundle, name):
    _rewrite_table(bundle, {**bundle.info.files, name: {"bytes": 1, "sha256": "0" * 64}})

    with pytest.raises(BundleError, match="unknown"):
        open_bundle(bundle.directory)


def test_an_unlisted_model_file_is_refused(bundle):
    (bundle.directory / "model.py").write_text("print('hello')")

    with pytest.raises(BundleError, match="not listed"):
        open_bundle(bundle.directory)


@pytest.mark.parametrize("name", ["model.onnx", "golden.json", "weights.safetensors"])
def test_a_changed_file_is_named(bundle, name):
    path = bundle.directory / name
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(bytes(body))

    with pytest.raises(BundleError, match=f"{name}.*changed"):
        open_bundle(bundle.directory)


def test_a_missing_file_is_named(bundle):
    (bundle.directory / "golden.json").unlink()

    with pytest.raises(BundleError, match=r"golden\.json"):
        open_bundle(bundle.directory)


def test_a_file_left_out_of_the_table_is_refused(bundle):
    files = {name: entry for name, entry in bundle.info.files.items() if name != "golden.json"}
    _rewrite_table(bundle, files)

    with pytest.raises(BundleError, match=r"golden\.json"):
        open_bundle(bundle.directory)


def test_a_link_is_refused(bundle, tmp_path):
    path = bundle.directory / "golden.json"
    path.rename(tmp_path / "golden.json")
    path.symlink_to(tmp_path / "golden.json")

    with pytest.raises(BundleError, match="cannot be read"):
        open_bundle(bundle.directory)


def test_a_forged_id_is_refused(bundle):
    document = json.loads((bundle.directory / "bundle.json").read_text())
    (bundle.directory / "bundle.json").write_text(json.dumps({**document, "id": "sha256:0"}))

    with pytest.raises(BundleError, match="id does not fit"):
        open_bundle(bundle.directory)


def test_a_bundle_of_another_format_is_refused(bundle):
    document = json.loads((bundle.directory / "bundle.json").read_text())
    (bundle.directory / "bundle.json").write_text(json.dumps({**document, "format": 2}))

    with pytest.raises(BundleError, match="does not know"):
        open_bundle(bundle.directory)


def test_oversized_json_is_not_even_read(bundle, monkeypatch):
    monkeypatch.setitem(SIZE_LIMITS, "golden.json", 1000)

    with pytest.raises(BundleError, match="too large"):
        open_bundle(bundle.directory)


@pytest.mark.parametrize("body", [b"[" * 100_000, b"[1]", b"{", b"\xff\xfe"])
def test_awkward_json_is_refused(bundle, body):
    _rewrite(bundle, "reference.json", body)

    with pytest.raises(BundleError, match="JSON"):
        open_bundle(bundle.directory)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(BundleError):
            open_bundle(folder)


# --- the training key ------------------------------------------------------------------------


def test_the_key_follows_what_decides_the_result(make_project):
    base = training_key(make_project(), "sha256:a", "1")
    changes = [
        training_key(make_project(), "sha256:b", "1"),
        training_key(make_project(), "sha256:a", "2"),
        training_key(make_project(model={"hidden": [4]}), "sha256:a", "1"),
        training_key(make_project(training={"seed": 1}), "sha256:a", "1"),
        training_key(make_project(features={"inputs": {"numeric": ["wind"]}}), "sha256:a", "1"),
        training_key(make_project(features={"pii": ["wind"]}), "sha256:a", "1"),
        training_key(make_project(evaluation={"split": {"test": 0.3}}), "sha256:a", "1"),
    ]

    assert base.startswith("sha256:")
    assert len({base, *changes}) == len(changes) + 1
    same = make_project(description="Other words", training={"checkpoint_every": 5})
    assert training_key(same, "sha256:a", "1") == base


def test_the_key_follows_the_custom_models_file(custom_project):
    first = training_key(custom_project("x = 1"), "sha256:a")
    second = training_key(custom_project("x = 2"), "sha256:a")

    assert first != second


def test_missing_numbers_are_nan_and_missing_texts_empty(bundle):
    rows = pa.table(
        {
            "distance": pa.array([None, 2], pa.int64()),
            "wind": [None, 1.5],
            "carrier": [None, "AA"],
            "dest": pa.array([None, True]),
        }
    )
    feeds = onnx_feeds(rows, bundle.schema)

    assert math.isnan(feeds["distance"][0, 0]) and feeds["distance"][1, 0] == 2
    assert feeds["carrier"].tolist() == [[""], ["AA"]]
    assert feeds["dest"].tolist() == [[""], ["true"]]
    assert all(feed.shape == (2, 1) for feed in feeds.values())
