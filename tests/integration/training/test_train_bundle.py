"""From features in a real store to a bundle in it, through kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from child_training import CODE_VERSION, features, project, publish_features

from mlops_assets.errors import EmptyDataError, ParityError, StoreError
from mlops_assets.training import train_bundle as module
from mlops_assets.training.job import make_job_folder
from mlops_assets.training.result import EpochResult
from mlops_assets.training.train_bundle import TrainedBundle, train_bundle
from resources.store import Store, open_store

CHILD = Path(__file__).parent / "child_training.py"
REPOSITORY = Path(__file__).parents[3]


@contextmanager
def _child(root: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(CHILD), str(root)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "store")
    publish_features(store, features(), "sha256:" + "1" * 64)
    return store


def _train(store: Store, root: Path, **options: Any) -> TrainedBundle:
    chosen = options.pop("project", None) or project(epochs=2)
    manifest = store.latest(chosen.id.features_collection)
    assert manifest is not None
    return train_bundle(
        chosen,
        store=store,
        features=manifest,
        checkpoints_root=root / "checkpoints",
        code_version=CODE_VERSION,
        **options,
    )


@pytest.mark.slow
def test_a_training_killed_in_the_middle_ends_as_if_nothing_had_happened(
    store: Store, tmp_path: Path
) -> None:
    epoch = 3
    with _child(tmp_path) as process:
        for line in _lines(process):
            if line["epoch"] == epoch:
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
    assert store.latest(project().id.bundles_collection) is None, "nothing half-written is visible"

    with _child(tmp_path) as process:
        *epochs, last = _lines(process)
    whole = _train(store, tmp_path / "elsewhere", project=project(), force=True)

    # The kill may come one or two epochs after the line that asked for it.
    assert last["resumed_from"] >= epoch
    assert [line["epoch"] for line in epochs] == list(range(last["resumed_from"] + 1, 9))
    assert last["id"] == whole.bundle.id, "to the byte the same weights and metrics"
    assert not list((tmp_path / "checkpoints").rglob("*.safetensors"))


def test_the_bundle_is_published_with_its_versions(store: Store, tmp_path: Path) -> None:
    seen: list[int] = []
    trained = _train(store, tmp_path, on_epoch=lambda epoch: seen.append(epoch.epoch))

    assert seen == [1, 2]
    assert not trained.reused
    assert trained.manifest.data_version == trained.bundle.id
    assert trained.bundle.directory == store.path(trained.manifest)
    assert trained.bundle.lineage["features_version"] == "sha256:" + "1" * 64
    assert trained.manifest.inputs_digest == trained.bundle.lineage["training_key"]
    assert not list((tmp_path / "checkpoints").rglob("*.safetensors"))


def test_rows_of_a_killed_run_go_with_the_next(store: Store, tmp_path: Path) -> None:
    """Also where that one trains in one process, and needs no rows on the disk."""
    checkpoints = tmp_path / "checkpoints" / "team" / "trips"
    first = _train(store, tmp_path)
    key = first.bundle.lineage["training_key"]
    own, other = make_job_folder(checkpoints / key[7:39]), make_job_folder(checkpoints / "other")
    for folder in (own, other):
        (folder / "rows").write_bytes(b"personal")
    _train(store, tmp_path, force=True)
    assert [path for path in checkpoints.rglob("*") if path.is_file()] == []


def test_the_same_training_is_not_done_twice(store: Store, tmp_path: Path) -> None:
    first = _train(store, tmp_path)
    again = _train(store, tmp_path)
    forced = _train(store, tmp_path, force=True)

    assert again.reused and again.result is None
    assert again.manifest == first.manifest
    assert not forced.reused
    assert forced.bundle.id == first.bundle.id


def test_two_runs_of_one_training_at_once_train_it_once(store: Store, tmp_path: Path) -> None:
    second: list[Future[TrainedBundle]] = []
    with ThreadPoolExecutor(1) as pool:

        def start_the_second(epoch: EpochResult) -> None:
            if epoch.epoch == 1:
                second.append(pool.submit(_train, store, tmp_path))

        first = _train(store, tmp_path, on_epoch=start_the_second)
        waited = second[0].result(60)

    assert not first.reused
    assert waited.reused
    assert waited.manifest == first.manifest
    assert not list((tmp_path / "checkpoints").rglob("*.*")), "no checkpoint and no lock is left"


def test_other_features_are_trained_anew(store: Store, tmp_path: Path) -> None:
    first = _train(store, tmp_path)
    publish_features(store, features(seed=1), "sha256:" + "2" * 64)

    second = _train(store, tmp_path)

    assert not second.reused
    assert second.bundle.id != first.bundle.id
    assert [item.sequence for item in store.manifests(project().id.bundles_collection)] == [1, 2]


def test_no_rows_train_no_model(store: Store, tmp_path: Path) -> None:
    publish_features(store, features().slice(0, 0), "sha256:" + "3" * 64)

    with pytest.raises(EmptyDataError):
        _train(store, tmp_path)
    assert store.latest(project().id.bundles_collection) is None


def test_a_failure_while_writing_publishes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ParityError("planted")

    monkeypatch.setattr(module, "write_bundle", fail)
    with pytest.raises(ParityError):
        _train(store, tmp_path)
    monkeypatch.undo()

    assert store.latest(project().id.bundles_collection) is None
    after = _train(store, tmp_path)
    assert after.result is not None
    assert after.result.resumed_from == 2, "the training itself was not lost"


def test_damaged_features_are_named(store: Store, tmp_path: Path) -> None:
    manifest = store.latest(project().id.features_collection)
    assert manifest is not None
    (file,) = store.path(manifest).glob("*.parquet")
    file.write_bytes(b"x" * file.stat().st_size)

    with pytest.raises(StoreError, match=file.name):
        _train(store, tmp_path)
