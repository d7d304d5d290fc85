"""One training in two processes: the metrics of one, through kill -9, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from child_training import features, project

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import TrainingError
from mlops_assets.training.checkpoint import latest_checkpoint
from mlops_assets.training.job import EPOCHS
from mlops_assets.training.placement import Placement
from mlops_assets.training.result import TrainingResult
from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train
from resources.processes import HOST, free_port

pytestmark = pytest.mark.slow

CHILD = Path(__file__).parent / "child_distributed.py"
REPOSITORY = Path(__file__).parents[3]
TWO = {"processes_per_node": 2, "timeout": "60s"}
ROWS = 3_000

FAULTY_MODEL = """
import os, signal
from pathlib import Path
import torch

SECOND = os.environ.get("RANK") == "1"

def assert_fits(numeric, most):
    if SECOND and len(numeric) > most:
        raise torch.OutOfMemoryError("CUDA out of memory")

class Net(torch.nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.hidden = torch.nn.Linear(len(inputs.numeric), 8)
        self.out = torch.nn.Linear(8, inputs.outputs)
        self.calls = 0

    def forward(self, numeric, categorical):
        scores = self.out(torch.tanh(self.hidden(numeric)))
        if self.training:
            self.calls += 1
            {fault}
        return scores

def build_model(inputs, **params):
    return Net(inputs)
"""

OLD_LISTING = """
if SECOND:
    from mlops_assets.training import checkpoint
    seen = checkpoint._checkpoint_files
    checkpoint._checkpoint_files = lambda folder: seen(folder)[:-1] or seen(folder)
"""
"""As on a machine that does not yet see the newest file of a shared folder."""


@pytest.fixture
def custom(tmp_path: Path) -> Callable[..., Project]:
    """A project whose model has this line in its training step."""

    def make(fault: str = "pass", **training: Any) -> Project:
        base = project(early_stopping=0, **training)
        written = {**base.written, "model": {"type": "custom"}}
        folder = tmp_path / "project"
        folder.mkdir(exist_ok=True)
        (folder / "model.py").write_text(FAULTY_MODEL.replace("{fault}", fault))
        return Project(base.id, ProjectSpec.model_validate(written), folder, written)

    return make


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


def _wait_until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def test_two_processes_come_to_the_metrics_of_one(tmp_path: Path) -> None:
    seen: list[int] = []
    one = _train(_without_dropout(epochs=4), tmp_path / "one")
    two = _train(
        _without_dropout(epochs=4, distributed=TWO),
        tmp_path / "two",
        on_epoch=lambda epoch: seen.append(epoch.epoch),
    )

    # The same batches; the gradient's float32 sum is taken in another order, which moves each
    # weight by about 1e-7 a step, 4 times 48 steps. One lost gradient moves losses by 1e-2.
    assert _metrics(two) == pytest.approx(_metrics(one), rel=1e-4)
    assert (two.batch_size, two.best_epoch) == (one.batch_size, one.best_epoch)
    assert two.preprocessing == one.preprocessing
    weights = zip(one.module.state_dict().items(), two.module.state_dict().values(), strict=True)
    for (name, left), right in weights:
        assert right.numpy() == pytest.approx(left.numpy(), abs=2e-3), name
    assert seen == [1, 2, 3, 4]
    rows = len(split_rows(features(ROWS), project().spec).train)
    assert one.placement == Placement(1, 1, None, (one.device,), (rows,))
    assert (two.placement.processes, two.placement.backend) == (2, "gloo")
    assert two.placement.devices == ("cpu", "cpu")
    assert sum(two.placement.rows) == rows
    assert not list((tmp_path / "two").glob("processes*")), "the rows are removed"


def test_each_process_holds_only_its_rows(tmp_path: Path, custom: Callable[..., Project]) -> None:
    """Each writes down, from within, how many rows it got in the epoch and which."""
    notes = tmp_path / "notes"
    notes.mkdir()
    line = (
        f"open('{notes}/rank-' + os.environ['RANK'], 'a').writelines("
        "str(round(float(value), 5)) + chr(10) for value in numeric[:, 0])"
    )
    result = _train(custom(line, epochs=1, distributed=TWO), tmp_path / "run")

    first, second = ((notes / f"rank-{rank}").read_text().split() for rank in (0, 1))
    table = features(ROWS)
    split = split_rows(table, project().spec)
    assert abs(len(first) - len(second)) <= 1
    assert len(first) + len(second) == len(split.train), "each row once, in one process"
    encoder, known = result.module.encoder, result.preprocessing
    import torch

    raw = torch.from_numpy(known.numbers(table, split.train))
    expected = [str(round(float(value), 5)) for value in encoder(raw)[:, 0]]
    assert sorted(first) == sorted(expected[: len(first)])
    assert sorted(second) == sorted(expected[len(first) :])


def test_a_process_killed_in_the_middle_of_an_epoch_changes_nothing(
    tmp_path: Path, custom: Callable[..., Project]
) -> None:
    mark = tmp_path / "killed"
    kill = (
        f"SECOND and self.calls == 100 and not Path('{mark}').exists() and "
        f"(Path('{mark}').touch(), os.kill(os.getpid(), signal.SIGKILL))"
    )
    options = {"epochs": 4, "distributed": TWO}
    whole = _train(custom(**options), tmp_path / "whole")
    seen: list[int] = []
    chosen = custom(kill, **options)
    with (chosen.directory / "model.py").open("a") as file:
        file.write(OLD_LISTING)
    killed = _train(chosen, tmp_path / "run", on_epoch=lambda each: seen.append(each.epoch))

    assert mark.exists()
    assert _metrics(killed) == _metrics(whole)
    assert seen == [1, 2, 3, 4], "an epoch that is done again is told once"
    assert (whole.placement.restarts, killed.placement.restarts) == (0, 1)


def test_a_process_that_stands_still_is_given_up_and_the_training_goes_on(
    tmp_path: Path, custom: Callable[..., Project]
) -> None:
    mark = tmp_path / "stopped"
    stop = (
        f"SECOND and self.calls == 100 and not Path('{mark}').exists() and "
        f"(Path('{mark}').touch(), os.kill(os.getpid(), signal.SIGSTOP))"
    )
    options = {"epochs": 3, "distributed": {**TWO, "timeout": "10s"}}
    result = _train(custom(stop, **options), tmp_path / "run")

    assert mark.exists()
    assert result.placement.restarts == 1
    assert len(result.history) == 3
    assert not _processes_in(tmp_path)


def test_a_process_that_always_dies_ends_the_training_with_its_signal(
    tmp_path: Path, custom: Callable[..., Project]
) -> None:
    die = "SECOND and self.calls == 3 and os.kill(os.getpid(), signal.SIGKILL)"
    chosen = custom(die, epochs=2, distributed={**TWO, "max_restarts": 1})

    with pytest.raises(TrainingError, match="again and again") as caught:
        _train(chosen, tmp_path / "run")

    assert "process 1: killed by SIGKILL" in str(caught.value)
    assert "after 1 restarts" in str(caught.value)
    assert len(str(caught.value)) < 1_000
    assert latest_checkpoint(tmp_path / "run") is not None
    assert not _processes_in(tmp_path)


def test_not_a_number_in_one_process_ends_both(
    tmp_path: Path, custom: Callable[..., Project]
) -> None:
    chosen = custom("scores = scores * (float('nan') if SECOND else 1)", distributed=TWO)

    with pytest.raises(TrainingError, match="the loss is no finite number") as caught:
        _train(chosen, tmp_path / "run")

    assert "learning_rate" in str(caught.value)
    assert not _processes_in(tmp_path)


def test_an_error_in_one_process_is_told_by_name(
    tmp_path: Path, custom: Callable[..., Project]
) -> None:
    chosen = custom("assert not SECOND, 'my bug'", distributed=TWO)

    with pytest.raises(TrainingError, match="AssertionError: my bug") as caught:
        _train(chosen, tmp_path / "run")
    assert "process 1 of 2" in str(caught.value)


def test_memory_that_runs_out_in_one_process_halves_the_batch_of_all(
    tmp_path: Path, custom: Callable[..., Project]
) -> None:
    chosen = custom("assert_fits(numeric, most=40)", epochs=2, batch_size=128, distributed=TWO)
    result = _train(chosen, tmp_path / "run")

    assert result.batch_size < 128
    assert len(result.history) == 2


def test_layers_that_look_at_the_batch_are_refused(
    tmp_path: Path, custom: Callable[..., Project]
) -> None:
    chosen = custom(distributed=TWO)
    file = chosen.directory / "model.py"
    layer = "self.norm = torch.nn.BatchNorm1d(8)"
    file.write_text(file.read_text().replace("self.calls = 0", layer + "; self.calls = 0"))

    with pytest.raises(TrainingError, match="whole batches"):
        _train(chosen, tmp_path / "run")


def test_fewer_rows_than_processes_are_refused(tmp_path: Path) -> None:
    chosen = project(distributed={"processes_per_node": 64})
    table = features(60)

    with pytest.raises(TrainingError, match="fewer rows than processes"):
        train(table, split_rows(table, chosen.spec), chosen, checkpoints=tmp_path)


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


def _told(epochs: Path) -> int:
    return epochs.read_text().count("\n")


def test_a_killed_run_leaves_no_process_and_the_next_one_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "run"
    with _child(root) as process:
        _wait_until(lambda: sum(_told(path) for path in root.glob(f"*/{EPOCHS}")) >= 2)
        running = _processes_in(root)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _wait_until(lambda: not _processes_in(root), seconds=20)
    assert sum("training.worker" in command for command in running.values()) == 2
    assert sum("training.agent" in command for command in running.values()) == 1
    left = latest_checkpoint(root)
    assert left is not None and 2 <= left.epoch < 400, "killed in the middle"

    short = project(distributed=TWO, epochs=left.epoch + 2)
    resumed = _train(short, root)

    assert resumed.resumed_from == left.epoch
    assert len(resumed.history) == left.epoch + 2


def test_a_second_machine_joins(tmp_path: Path) -> None:
    """Two agents of one process each that meet at an address, as on two machines."""
    address = f"{HOST}:{free_port(29_400)}"
    two = {"nodes": 2, "processes_per_node": 1, "rendezvous": address, "timeout": "60s"}
    command = [sys.executable, "-m", "mlops_assets.training.join", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment) as other:
        try:
            result = _train(_without_dropout(epochs=2, distributed=two), tmp_path / "two")
            assert other.wait(60) == 0
        finally:
            if other.poll() is None:
                other.kill()
    one = _train(_without_dropout(epochs=2), tmp_path / "one")

    assert _metrics(result) == pytest.approx(_metrics(one), rel=1e-4)
