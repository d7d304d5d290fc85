"""All processes go on from the same bytes, whatever each of them sees of a shared folder."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlops_assets.errors import TrainingError
from mlops_assets.training import agreement, checkpoint
from mlops_assets.training.agreement import agreed_checkpoint, read_last, tell_last
from mlops_assets.training.checkpoint import Checkpoint, file_digest, save_checkpoint
from mlops_assets.training.world import World


class Second(World):
    """The second of two processes, with what the first tells."""

    rank = 1
    size = 2

    def __init__(self, told: str) -> None:
        self._told = told

    def share(self, text: str) -> str:
        assert not text, "the second process chooses nothing"
        return self._told


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(agreement, "_POLL_SECONDS", 0.01)


def _save(folder: Path, epoch: int, value: float = 0.0) -> Path:
    return save_checkpoint(folder, Checkpoint(epoch, {"w": torch.tensor([value])}, {"batch": 8}))


def _told(path: Path) -> str:
    return json.dumps({"name": path.name, "digest": file_digest(path)})


def test_an_old_listing_in_the_second_process_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, 1)
    newest = _save(tmp_path, 2)
    first = agreed_checkpoint(tmp_path, World())
    real = checkpoint._checkpoint_files
    monkeypatch.setattr(checkpoint, "_checkpoint_files", lambda folder: real(folder)[:-1])
    second = agreed_checkpoint(tmp_path, Second(_told(newest)))

    assert (first.epoch, second.epoch) == (2, 2)


def test_the_first_process_passes_over_a_damaged_file_for_all(tmp_path: Path) -> None:
    older = _save(tmp_path, 1)
    (tmp_path / "epoch-000002.safetensors").write_bytes(b"cut short")

    assert agreed_checkpoint(tmp_path, World()).epoch == 1
    assert agreed_checkpoint(tmp_path, Second(_told(older))).epoch == 1


def test_a_file_that_is_seen_late_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "PATIENCE_SECONDS", 20.0)
    saved = _save(tmp_path / "first", 3)
    told = _told(saved)
    timer = threading.Timer(0.2, lambda: shutil.copytree(saved.parent, tmp_path / "second"))
    timer.start()

    assert agreed_checkpoint(tmp_path / "second", Second(told)).epoch == 3
    timer.join()


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda path: path.unlink(), "No such file or directory"),
        (lambda path: _save(path.parent, 2, value=1.0), "sha256:"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory"),
    ],
    ids=["missing", "other bytes", "unreadable"],
)
def test_a_checkpoint_that_cannot_be_read_ends_the_training_by_name(
    tmp_path: Path, spoil: Callable[[Path], object], found: str
) -> None:
    path = _save(tmp_path, 2)
    told = _told(path)
    spoil(path)

    with pytest.raises(TrainingError, match="cannot read the checkpoint") as caught:
        agreed_checkpoint(tmp_path, Second(told))
    assert found in str(caught.value.found)
    assert json.loads(told)["digest"] in str(caught.value.expected)
    assert str(path) in str(caught.value)


def test_the_run_reads_the_last_checkpoint_of_the_first_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match="left no checkpoint"):
        read_last(tmp_path, tmp_path)
    _save(tmp_path, 1)
    _save(tmp_path, 2)
    tell_last(tmp_path, tmp_path)
    real = checkpoint._checkpoint_files
    monkeypatch.setattr(checkpoint, "_checkpoint_files", lambda folder: real(folder)[:-1])

    assert read_last(tmp_path, tmp_path).epoch == 2
