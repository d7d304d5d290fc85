"""A long training in two processes that the tests kill: run as a program."""

from __future__ import annotations

import sys
from pathlib import Path

from child_training import features, project

from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train


def main(checkpoints: Path) -> None:
    """Train until killed."""
    chosen = project(epochs=400, distributed={"processes_per_node": 2})
    table = features(3_000)
    train(table, split_rows(table, chosen.spec), chosen, checkpoints=checkpoints)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
