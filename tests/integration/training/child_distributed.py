"""A training in two processes with faults: run as a program that the tests kill, or imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from child_training import features, project

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train

ROWS = 3_000
"""48 steps an epoch."""
EPOCHS = 3
TWO = {"processes_per_node": 2, "timeout": "60s"}

MODEL = """
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

FAULTS_IN_TURN = """
MARKS = Path({marks!r})
FIRED = len(list(MARKS.iterdir()))
FAULTS = [(70, signal.SIGSTOP), (20, signal.SIGKILL), (70, signal.SIGSTOP)]

def fail(calls):
    if SECOND and FIRED < len(FAULTS) and calls == FAULTS[FIRED][0]:
        (MARKS / str(FIRED)).touch()
        os.kill(os.getpid(), FAULTS[FIRED][1])
"""
"""Each start of the second process comes to the next fault; the first is for the run's kill."""

OLD_LISTING = """
if SECOND:
    from mlops_assets.training import checkpoint
    seen = checkpoint._checkpoint_files
    checkpoint._checkpoint_files = lambda folder: seen(folder)[:-1] or seen(folder)
"""
"""As on a machine that does not yet see the newest file of a shared folder."""


def custom_project(folder: Path, fault: str = "pass", more: str = "", **training: Any) -> Project:
    """A project whose model has this line in its training step, and more text at its end."""
    base = project(**training)
    written = {**base.written, "model": {"type": "custom"}}
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(MODEL.replace("{fault}", fault) + more)
    return Project(base.id, ProjectSpec.model_validate(written), folder, written)


def failing_project(folder: Path, marks: Path, **distributed: Any) -> Project:
    """The second process comes to all faults in turn, and sees old listings."""
    more = FAULTS_IN_TURN.format(marks=str(marks)) + OLD_LISTING
    return custom_project(
        folder, "fail(self.calls)", more, epochs=EPOCHS, distributed={**TWO, **distributed}
    )


def main(root: Path) -> None:
    """Train until killed: in the second epoch, a process stands still."""
    chosen = failing_project(root / "project", root / "marks")
    table = features(ROWS)
    train(table, split_rows(table, chosen.spec), chosen, checkpoints=root / "run")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
