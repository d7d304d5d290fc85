"""What a bundle holds for drift tests: the importance of its inputs, and some training rows."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from child_training import features, project

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import BundleError
from mlops_assets.training.bundle import Bundle, open_bundle
from mlops_assets.training.bundle_safety import REFERENCE_ROWS, file_table_id
from mlops_assets.training.bundle_schema import ROWS_FILE
from mlops_assets.training.bundle_writer import write_bundle
from mlops_assets.training.importance import permutation_importance
from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train

ROWS = 6_000


def of_task(task: str) -> pa.Table:
    """Rows whose label depends on x most, on kind less and on y not at all."""
    table = features(ROWS)
    random = np.random.default_rng(1)
    score = 2 * table["x"].to_numpy() + (table["kind"].to_numpy(zero_copy_only=False) == "a")
    score = score + random.normal(0, 0.5, ROWS)
    label: Any = {
        "binary": (score > 0).astype(np.int32),
        "multiclass": np.where(score > 1, "high", np.where(score > -1, "mid", "low")),
        "regression": 100 + 20 * score,
    }[task]
    return table.drop_columns(["label"]).append_column("label", pa.array(label))


def with_features(base: Project, **changes: Any) -> Project:
    written = {**base.written, "features": {**base.written["features"], **changes}}
    return replace(base, spec=ProjectSpec.model_validate(written), written=written)


def of_kind(task: str) -> Project:
    base = project(epochs=4)
    written = {**base.written, "task": task, "model": {"type": "mlp", "hidden": [32]}}
    return replace(base, spec=ProjectSpec.model_validate(written), written=written)


def build(folder: Path, chosen: Project, table: pa.Table) -> Bundle:
    split = split_rows(table, chosen.spec)
    result = train(table, split, chosen, checkpoints=folder / "checkpoints")
    (folder / "bundle").mkdir()
    versions = {"features_version": "sha256:" + "1" * 64, "code_version": "1"}
    write_bundle(folder / "bundle", chosen, result, table, split, **versions)
    return open_bundle(folder / "bundle")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build(tmp_path_factory.mktemp("shared"), of_kind("binary"), of_task("binary"))


@pytest.fixture
def bundle(shared: Bundle, tmp_path: Path) -> Bundle:
    """A copy, to do anything with."""
    shutil.copytree(shared.directory, tmp_path / "copy")
    return open_bundle(tmp_path / "copy")


def forge(bundle: Bundle, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the table of files, with everything that a careful forger would change with it."""
    files = dict(bundle.info.files)
    change(files)
    document = {"format": 1, "id": file_table_id(files), "files": files}
    (bundle.directory / "bundle.json").write_text(json.dumps(document))


def forge_rows(bundle: Bundle, body: bytes) -> None:
    (bundle.directory / ROWS_FILE).write_bytes(body)
    entry = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    forge(bundle, lambda files: files.update({ROWS_FILE: entry}))


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


# --- importance -----------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_shares_follow_what_the_label_depends_on(task: str, tmp_path: Path) -> None:
    found = build(tmp_path, of_kind(task), of_task(task)).reference["importance"]
    assert set(found) == {"x", "y", "kind"}
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert found["x"] > 0.6
    assert found["x"] > found["kind"] > found["y"]
    assert 0 <= found["y"] < 0.02


def test_importance_is_the_growth_of_the_loss_when_a_column_is_shuffled(tmp_path: Path) -> None:
    """By the served graph and scikit-learn, with shuffles of its own."""
    from sklearn.metrics import log_loss

    from mlops_assets.training.scoring import score

    chosen, table = of_kind("binary"), of_task("binary")
    bundle = build(tmp_path, chosen, table)
    rows = table.take(pa.array(split_rows(table, chosen.spec).validation))
    labels = rows["label"].to_numpy()
    base = log_loss(labels, score(bundle, rows).astype(float))
    growth = {}
    for name in ("x", "y", "kind"):
        losses = []
        for seed in range(10):
            order = pa.array(np.random.default_rng(seed).permutation(rows.num_rows))
            place = rows.column_names.index(name)
            changed = rows.set_column(place, name, rows[name].take(order))
            losses.append(log_loss(labels, score(bundle, changed).astype(float)))
        growth[name] = max(0.0, float(np.mean(losses)) - base)
    total = sum(growth.values())
    for name, share in bundle.reference["importance"].items():
        assert share == pytest.approx(growth[name] / total, abs=0.05)


def test_importance_is_equal_when_nothing_matters(tmp_path: Path) -> None:
    chosen, table = of_kind("binary"), of_task("binary")
    split = split_rows(table, chosen.spec)
    result = train(table, split, chosen, checkpoints=tmp_path)
    one_row = split.validation[:1]
    found = permutation_importance(result.module, result.preprocessing, table, one_row)
    assert found == dict.fromkeys(("x", "y", "kind"), 1 / 3)


def test_validation_rows_of_classes_that_training_never_saw_do_not_count(tmp_path: Path) -> None:
    chosen, table = of_kind("multiclass"), of_task("multiclass")
    split = split_rows(table, chosen.spec)
    result = train(table, split, chosen, checkpoints=tmp_path)
    labels = table["label"].to_numpy(zero_copy_only=False).copy()
    labels[split.validation[::3]] = "new"
    changed = table.drop_columns(["label"]).append_column("label", pa.array(labels))
    found = permutation_importance(result.module, result.preprocessing, changed, split.validation)
    assert found["x"] > 0.6
    labels[split.validation] = "new"
    changed = table.drop_columns(["label"]).append_column("label", pa.array(labels))
    found = permutation_importance(result.module, result.preprocessing, changed, split.validation)
    assert found == dict.fromkeys(("x", "y", "kind"), 1 / 3)


# --- reference rows -------------------------------------------------------------------------


def test_rows_are_training_rows_as_they_are(shared: Bundle) -> None:
    table, chosen = of_task("binary"), of_kind("binary")
    training = split_rows(table, chosen.spec).train
    rows = shared.reference_rows()
    assert rows is not None
    assert rows.column_names == ["x", "y", "kind"]
    assert rows.num_rows == REFERENCE_ROWS < len(training)
    known = {
        (row["x"], row["y"], row["kind"]) for row in table.take(pa.array(training)).to_pylist()
    }
    found = {(row["x"], row["y"], row["kind"]) for row in rows.to_pylist()}
    assert len(found) == REFERENCE_ROWS
    assert found <= known


def test_fewer_training_rows_are_all_there(tmp_path: Path) -> None:
    table, chosen = of_task("binary").slice(0, 900), of_kind("binary")
    rows = build(tmp_path, chosen, table).reference_rows()
    assert rows is not None
    assert rows.num_rows == len(split_rows(table, chosen.spec).train)


def test_the_same_training_gives_the_same_rows_and_id(shared: Bundle, tmp_path: Path) -> None:
    again = build(tmp_path, of_kind("binary"), of_task("binary"))
    assert again.id == shared.id
    assert ROWS_FILE in again.info.files


@pytest.mark.parametrize("hidden", [["kind"], ["x", "y"], ["x", "y", "kind"]])
def test_personal_data_are_not_among_the_rows(hidden: list[str], tmp_path: Path) -> None:
    table = of_task("binary")
    secret = pa.array([f"secret-{value}" for value in table["kind"].to_pylist()])
    table = table.set_column(table.column_names.index("kind"), "kind", secret)
    bundle = build(tmp_path, with_features(of_kind("binary"), pii=hidden), table)
    rows = bundle.reference_rows()
    assert rows is not None
    assert set(rows.column_names) == {"x", "y", "kind"} - set(hidden)
    assert (b"secret-" in (bundle.directory / ROWS_FILE).read_bytes()) is ("kind" not in hidden)


def test_an_older_bundle_without_rows_is_readable(bundle: Bundle) -> None:
    (bundle.directory / ROWS_FILE).unlink()
    forge(bundle, lambda files: files.pop(ROWS_FILE))
    assert open_bundle(bundle.directory).reference_rows() is None


def test_listed_rows_that_are_gone_are_missed(bundle: Bundle) -> None:
    (bundle.directory / ROWS_FILE).unlink()
    with pytest.raises(BundleError, match=ROWS_FILE):
        open_bundle(bundle.directory)


def test_rows_that_are_not_listed_are_refused(bundle: Bundle) -> None:
    forge(bundle, lambda files: files.pop(ROWS_FILE))
    with pytest.raises(BundleError, match="not listed"):
        open_bundle(bundle.directory)


def test_changed_rows_are_refused(bundle: Bundle) -> None:
    path = bundle.directory / ROWS_FILE
    body = bytearray(path.read_bytes())
    body[100] ^= 1
    path.write_bytes(bytes(body))
    with pytest.raises(BundleError, match="was changed"):
        open_bundle(bundle.directory)


def test_a_link_instead_of_rows_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    path = bundle.directory / ROWS_FILE
    path.rename(tmp_path / "elsewhere.parquet")
    path.symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(BundleError):
        open_bundle(bundle.directory)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no Parquet"),
        (b"\x80\x04cposix\nsystem\n.", "no Parquet"),
        (b"PAR1" + b"\x00" * 64 + b"PAR1", "no Parquet"),
        (parquet(pa.table({"x": np.zeros(REFERENCE_ROWS + 1)})), "too many"),
        (parquet(pa.table({"x": [0.0], "passport": ["P1"]})), "no inputs"),
        (parquet(pa.table({"kind": [f"{n}" + "x" * 2**20 for n in range(70)]})), "too many"),
    ],
    ids=["empty", "pickle", "no-footer", "too-many", "other-column", "too-large"],
)
def test_forged_rows_are_refused_even_with_the_right_checksum(
    bundle: Bundle, body: bytes, said: str
) -> None:
    forge_rows(bundle, body)
    with pytest.raises(BundleError, match=said):
        open_bundle(bundle.directory)
