"""One training in two processes: the metrics of one, through kill -9, and nothing left behind.

Each start of two processes imports torch three times, so tests share what they can.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from child_distributed import EPOCHS, ROWS, TWO, custom_project, failing_project
from child_training import features, project

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import TrainingError
from mlops_assets.training import launch, worker
from mlops_assets.training.agent import MEETING_VARIABLE
from mlops_assets.training.asked import Asked
from mlops_assets.training.checkpoint import latest_checkpoint
from mlops_assets.training.device import choose_compute
from mlops_assets.training.job import make_job_folder
from mlops_assets.training.placement import Placement
from mlops_assets.training.preprocessing import fit_preprocessing
from mlops_assets.training.processes import Processes
from mlops_assets.training.result import TrainingResult
from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train
from resources.processes import HOST
from tests.ports import spare_port

pytestmark = pytest.mark.slow

CHILD = Path(__file__).parent / "child_distributed.py"
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def custom(tmp_path: Path) -> Callable[..., Project]:
    """A project whose model has this line in its training step."""
    return lambda fault="pass", **rest: custom_project(tmp_path / "project", fault, **rest)


@dataclass(frozen=True)
class Uninterrupted:
    """A training of a model without dropout that nothing disturbed."""

    one: TrainingResult
    two: TrainingResult
    told: list[int]
    folder: Path
    notes: Path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """In one process and in two; each process writes down which rows it got."""
    folder, notes = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("notes")
    line = (
        f"open('{notes}/rank-' + os.environ.get('RANK', 'none'), 'a').writelines("
        "str(round(float(value), 5)) + chr(10) for value in numeric[:, 0])"
    )
    told: list[int] = []
    two = _train(
        custom_project(folder / "project", line, epochs=EPOCHS, distributed=TWO),
        folder / "two",
        on_epoch=lambda epoch: told.append(epoch.epoch),
    )
    one = _train(custom_project(folder / "project", epochs=EPOCHS), folder / "one")
    return Uninterrupted(one, two, told, folder, notes)


def _without_dropout(**training: Any) -> Project:
    """Dropout draws other units for other processes: without it, the sums are the same."""
    base = project(**training)
    written = {**base.written, "model": {"type": "mlp", "dropout": 0.0}}
    return Project(base.id, ProjectSpec.model_validate(written), base.directory, written)


def _train(chosen: Project, folder: Path, **options: Any) -> TrainingResult:
    table = features(ROWS)
    return train(table, split_rows(table, chosen.spec), chosen, checkpoints=folder, **options)


def _metrics(result: TrainingResult) -> list[float]:
    values: list[float] = []
    for epoch in result.history:
        values += [epoch.train_loss, epoch.validation_loss, *epoch.metrics.values()]
    assert values
    return values


def _assert_same_model(two: TrainingResult, one: TrainingResult) -> None:
    """The same batches; the gradient's float32 sum is taken in another order, which moves each
    weight by about 1e-7 a step, 3 times 48 steps. One lost gradient moves losses by 1e-2.
    """
    assert _metrics(two) == pytest.approx(_metrics(one), rel=1e-4)
    assert (two.batch_size, two.best_epoch) == (one.batch_size, one.best_epoch)
    assert two.preprocessing == one.preprocessing
    weights = zip(one.module.state_dict().items(), two.module.state_dict().values(), strict=True)
    for (name, left), right in weights:
        assert right.numpy() == pytest.approx(left.numpy(), abs=2e-3), name


def _processes_in(folder: Path) -> dict[int, str]:
    """Command lines of running processes that name the folder, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_text().replace("\0", " ")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if str(folder) in command and "mlops_assets.training" in command and state not in "ZX":
            found[int(entry.name)] = command
    return found


def _wait_until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def test_two_processes_come_to_the_metrics_of_one(uninterrupted: Uninterrupted) -> None:
    one, two = uninterrupted.one, uninterrupted.two

    _assert_same_model(two, one)
    assert uninterrupted.told == [1, 2, 3]
    rows = len(split_rows(features(ROWS), project().spec).train)
    assert one.placement == Placement(1, 1, None, (one.device,), (rows,))
    assert (two.placement.processes, two.placement.backend) == (2, "gloo")
    assert two.placement.devices == ("cpu", "cpu")
    assert sum(two.placement.rows) == rows
    assert two.placement.restarts == 0
    assert not list(uninterrupted.folder.rglob("processes*")), "the rows are removed"


def test_each_process_holds_only_its_rows(uninterrupted: Uninterrupted) -> None:
    notes, two = uninterrupted.notes, uninterrupted.two
    first, second = ((notes / f"rank-{rank}").read_text().split() for rank in (0, 1))
    table = features(ROWS)
    split = split_rows(table, project().spec)
    half = len(first) // EPOCHS
    assert abs(len(first) - len(second)) <= EPOCHS
    assert len(first) + len(second) == EPOCHS * len(split.train), "each row once, in one process"

    raw = torch.from_numpy(two.preprocessing.numbers(table, split.train))
    expected = [str(round(float(value), 5)) for value in two.module.encoder(raw)[:, 0]]
    assert sorted(first) == sorted(expected[:half] * EPOCHS)
    assert sorted(second) == sorted(expected[half:] * EPOCHS)


@contextmanager
def _child(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, str(CHILD), str(root)], stdout=subprocess.DEVNULL, env=environment
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_killed_runs_and_processes_and_one_that_stands_still_change_nothing(
    tmp_path: Path, uninterrupted: Uninterrupted
) -> None:
    """The run is killed in the second epoch, then a process; in the third, one stands still."""
    marks = tmp_path / "marks"
    marks.mkdir()
    with _child(tmp_path) as process:
        _wait_until((marks / "0").exists)
        running = _processes_in(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _wait_until(lambda: not _processes_in(tmp_path), seconds=20)
    assert sum("training.worker" in command for command in running.values()) == 2
    assert sum("training.agent" in command for command in running.values()) == 1
    left = latest_checkpoint(tmp_path / "run")
    assert left is not None and left.epoch == 1, "killed in the middle"

    told: list[int] = []
    chosen = failing_project(tmp_path / "project", marks, timeout="15s", max_restarts=10)
    result = _train(chosen, tmp_path / "run", on_epoch=lambda each: told.append(each.epoch))

    assert {path.name for path in marks.iterdir()} == {"0", "1", "2"}, "all faults happened"
    assert _metrics(result) == _metrics(uninterrupted.two)
    assert result.resumed_from == 1
    assert told == [2, 3], "an epoch that is done again is told once"
    assert result.placement.restarts >= 2, "more where a busy machine does not answer in time"
    assert not _processes_in(tmp_path)
    assert not list((tmp_path / "run").glob("processes*")), "nor are there rows of the killed run"


def test_a_process_that_always_dies_ends_the_training_with_its_signal(
    tmp_path: Path, custom: Callable[..., Project]
) -> None:
    die = "SECOND and self.calls == 3 and os.kill(os.getpid(), signal.SIGKILL)"
    chosen = custom(die, epochs=2, distributed={**TWO, "max_restarts": 0})

    with pytest.raises(TrainingError, match="again and again") as caught:
        _train(chosen, tmp_path / "run")

    assert "process 1: killed by SIGKILL" in str(caught.value)
    assert "after 0 restarts" in str(caught.value)
    assert len(str(caught.value)) < 1_000
    assert latest_checkpoint(tmp_path / "run") is not None
    assert not _processes_in(tmp_path)


def test_one_process_without_memory_halves_the_batch_of_all_and_one_with_nan_ends_all(
    tmp_path: Path, custom: Callable[..., Project]
) -> None:
    nan = "; scores = scores * (float('nan') if SECOND and self.calls > 150 else 1)"
    chosen = custom("assert_fits(numeric, most=40)" + nan, batch_size=128, distributed=TWO)

    with pytest.raises(TrainingError, match="the loss is no finite number") as caught:
        _train(chosen, tmp_path / "run")

    assert "learning_rate" in str(caught.value)
    kept = latest_checkpoint(tmp_path / "run")
    assert kept is not None and kept.epoch >= 1, "the last good checkpoint is kept"
    assert kept.state["batch"] < 128
    assert not _processes_in(tmp_path)


def test_an_error_in_one_process_is_told_by_name(
    tmp_path: Path, custom: Callable[..., Project]
) -> None:
    chosen = custom("assert not SECOND, 'my bug'", distributed=TWO)

    with pytest.raises(TrainingError, match="AssertionError: my bug") as caught:
        _train(chosen, tmp_path / "run")
    assert "process 1 of 2" in str(caught.value)


def test_layers_that_look_at_the_batch_are_refused(
    tmp_path: Path, custom: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By each process before it trains; here by one, which is this one."""
    chosen = custom(distributed=TWO)
    file = chosen.directory / "model.py"
    layer = "self.norm = torch.nn.BatchNorm1d(8)"
    file.write_text(file.read_text().replace("self.calls = 0", layer + "; self.calls = 0"))
    table = features(ROWS)
    split, compute = split_rows(table, chosen.spec), choose_compute(chosen.spec.training)
    fitted = fit_preprocessing(table, split.train, chosen.spec, 0)
    asked = Asked(table, split, chosen, fitted, compute, tmp_path / "run")
    job = launch._write_job(asked, Processes(1, 1), make_job_folder(tmp_path / "run"))
    numbers = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1}
    for name, value in {**numbers, "TORCHELASTIC_RESTART_COUNT": 0, MEETING_VARIABLE: 0}.items():
        monkeypatch.setenv(name, str(value))

    with pytest.raises(TrainingError, match="whole batches"):
        worker._train(job)


def test_fewer_rows_than_processes_are_refused(tmp_path: Path) -> None:
    chosen = project(distributed={"processes_per_node": 64})
    table = features(60)

    with pytest.raises(TrainingError, match="fewer rows than processes"):
        train(table, split_rows(table, chosen.spec), chosen, checkpoints=tmp_path / "run")


def test_a_second_machine_joins(tmp_path: Path) -> None:
    """Two agents of one process each that meet at an address, as on two machines."""
    address = f"{HOST}:{spare_port()}"
    two = {"nodes": 2, "processes_per_node": 1, "rendezvous": address, "timeout": "60s"}
    command = [sys.executable, "-m", "mlops_assets.training.join", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment) as other:
        try:
            result = _train(_without_dropout(epochs=EPOCHS, distributed=two), tmp_path / "two")
            assert other.wait(60) == 0
        finally:
            if other.poll() is None:
                other.kill()
    one = _train(_without_dropout(epochs=EPOCHS), tmp_path / "one")

    _assert_same_model(result, one)
