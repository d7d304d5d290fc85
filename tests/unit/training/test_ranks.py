"""How rows and batches are divided among processes, and which processes there are."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mlops_assets.config.distributed import DistributedSpec
from mlops_assets.config.training import TrainingSpec
from mlops_assets.errors import ConfigError, TrainingError
from mlops_assets.training.device import Compute
from mlops_assets.training.failures import failure, is_final, write_exit_codes, write_failure
from mlops_assets.training.job import Job, read_rows, write_rows
from mlops_assets.training.key import training_key
from mlops_assets.training.placement import Placement, ProcessNote, read_placement
from mlops_assets.training.preprocessing import fit_preprocessing
from mlops_assets.training.processes import process_count
from mlops_assets.training.ranks import PeerSilentError, Ranks, refuse_batch_statistics, shard
from mlops_assets.training.world import World

CPU = torch.device("cpu")


@pytest.mark.parametrize(("rows", "size"), [(10, 3), (7, 7), (1000, 8), (5, 1)])
def test_each_row_lies_in_one_shard_and_shards_are_even(rows: int, size: int) -> None:
    shards = [shard(rows, rank, size) for rank in range(size)]

    assert [row for each in shards for row in each] == list(range(rows))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize(("rows", "steps", "size"), [(100, 7, 3), (20, 10, 4), (9, 9, 2)])
def test_the_parts_of_all_processes_are_the_batches_of_one(
    rows: int, steps: int, size: int
) -> None:
    order = torch.randperm(rows)
    batches = [part.rows.tolist() for part in World().parts(order, steps, CPU)]
    joined: list[list[int]] = [[] for _ in batches]
    shares = [0.0] * steps
    for rank in range(size):
        ranks = Ranks(rank, size, nn.Linear(2, 1), CPU)
        start = shard(rows, rank, size).start
        for place, part in enumerate(ranks.parts(order, steps, CPU)):
            joined[place] += [start + row for row in part.rows.tolist()]
            shares[place] += part.share
            assert part.batch == len(batches[place])

    assert [sorted(batch) for batch in joined] == [sorted(batch) for batch in batches]
    assert shares == pytest.approx([1.0] * steps)


def test_all_processes_draw_the_order_of_one_and_then_go_their_own_ways() -> None:
    drawn = []
    for rank in (0, 1):
        torch.manual_seed(3)
        ranks = Ranks(rank, 2, nn.Linear(2, 1), CPU)
        torch.manual_seed(5)
        drawn.append((ranks.permutation(50, CPU), torch.rand(4)))
    torch.manual_seed(5)
    alone = World().permutation(50, CPU)

    assert torch.equal(drawn[0][0], alone) and torch.equal(drawn[1][0], alone)
    assert not torch.equal(drawn[0][1], drawn[1][1])


def test_layers_over_a_batch_are_named() -> None:
    with pytest.raises(TrainingError, match="BatchNorm1d"):
        refuse_batch_statistics(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    refuse_batch_statistics(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))


def test_one_process_is_the_default() -> None:
    cpu = Compute("cpu", "float32")

    assert process_count(TrainingSpec(), cpu).total == 1
    assert process_count(TrainingSpec(distributed=DistributedSpec()), cpu).total == 1
    asked = DistributedSpec(processes_per_node=2, nodes=3, rendezvous="host:1")
    assert process_count(TrainingSpec(distributed=asked), cpu).total == 6


def test_the_number_of_processes_is_part_of_a_trainings_identity(make_project) -> None:
    def key(**distributed: object) -> str:
        return training_key(make_project(training={"distributed": distributed}), "sha256:a")

    assert key(processes_per_node=2) != training_key(make_project(), "sha256:a")
    assert key(processes_per_node=2) != key(processes_per_node=3)
    assert key(processes_per_node=2) == key(processes_per_node=2, timeout="1h", max_restarts=0)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_shard_of_written_rows_is_that_part_of_the_table(
    make_project, labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setattr("mlops_assets.training.job._CHUNK", 70)
    table = labelled(600, task)
    rows = np.arange(0, 600, 2)
    fitted = fit_preprocessing(table, rows, make_project(task=task).spec, 0)
    write_rows(tmp_path, "train", table, rows, fitted)
    numeric, categorical, target = read_rows(tmp_path, "train", range(100, 201))

    wanted = rows[100:201]
    np.testing.assert_array_equal(numeric, fitted.numbers(table, wanted))
    np.testing.assert_array_equal(categorical, fitted.categories(table, wanted))
    np.testing.assert_array_equal(target, fitted.label.encode(table, wanted))
    assert len(numeric) == 101 and numeric.base is None, "a copy, not a view of the whole file"


def test_a_job_comes_back_as_it_was(make_project, table, tmp_path: Path) -> None:
    project = make_project(training={"distributed": {"processes_per_node": 2}})
    job = Job(
        model=project.spec.model,
        training=project.spec.training,
        preprocessing=fit_preprocessing(table, np.arange(600), project.spec, 4),
        directory=project.directory,
        files={"model.py": "x = 1"},
        batch=32,
        per_node=2,
        train_rows=400,
        validation_rows=100,
        folder=tmp_path,
    )

    path = job.save()
    assert Job.load(path) == job
    assert "sources" not in json.loads(path.read_text())


def test_an_error_on_purpose_comes_back_as_itself_and_beginning_again_is_useless(
    tmp_path: Path,
) -> None:
    write_failure(tmp_path, 0, ConfigError("a bad file", where="model.py", fix="write another"))

    told = failure(tmp_path, DistributedSpec())
    assert is_final(tmp_path)
    assert isinstance(told, ConfigError)
    assert (told.problem, told.where, told.fix) == ("a bad file", "model.py", "write another")


def test_a_crash_is_told_with_its_text_its_signal_and_bounded(tmp_path: Path) -> None:
    write_failure(tmp_path, 1, ValueError("long " * 10_000))
    write_exit_codes(tmp_path, {0: -9, 1: 1})

    told = failure(tmp_path, DistributedSpec(max_restarts=2))
    assert not is_final(tmp_path)
    assert isinstance(told, TrainingError) and "after 2 restarts" in str(told)
    assert "ValueError in process 1: long" in str(told)
    assert "process 0: killed by SIGKILL" in str(told)
    assert len(str(told)) < 3_000


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({0: 1}, "did not answer"),
        ({0: 1, 1: -15}, "did not answer"),
        ({0: 1, 1: -9}, "died again and again"),
    ],
    ids=["silent", "ended with the other", "killed"],
)
def test_silence_is_told_as_such_unless_the_silent_one_was_killed(
    codes: dict[int, int], said: str, tmp_path: Path
) -> None:
    write_failure(tmp_path, 0, PeerSilentError("Timed out waiting 5000ms"))
    write_exit_codes(tmp_path, codes)

    told = failure(tmp_path, DistributedSpec(timeout=timedelta(seconds=5), max_restarts=1))
    assert isinstance(told, TrainingError)
    assert not is_final(tmp_path), "a process that is silent once is begun again"
    assert said in told.problem
    assert ("within 5 seconds" in str(told)) is (said == "did not answer")
    assert ("Timed out" in str(told)) is (said == "did not answer")


@pytest.mark.parametrize(
    ("backend", "codes", "said"),
    [
        ("nccl", {0: -6}, "did not answer"),
        ("nccl", {0: -6, 1: -15}, "did not answer"),
        ("nccl", {0: -6, 1: -9}, "died again and again"),
        ("nccl", {0: -11}, "died again and again"),
        ("gloo", {0: -6}, "died again and again"),
    ],
)
def test_an_abort_by_the_watchdog_of_nccl_is_a_process_that_did_not_answer(
    backend: str, codes: dict[int, int], said: str, tmp_path: Path
) -> None:
    for rank in (0, 1):
        ProcessNote(rank, backend, f"GPU {rank}", 5, 1).write(tmp_path)
    write_exit_codes(tmp_path, codes)

    told = failure(tmp_path, DistributedSpec(timeout=timedelta(seconds=5), max_restarts=1))
    assert isinstance(told, TrainingError)
    assert said in told.problem
    assert ("watchdog" in str(told)) is (said == "did not answer")
    assert ("memory" in str(told)) is (said != "did not answer")


def test_an_own_error_comes_before_what_others_lost(tmp_path: Path) -> None:
    write_failure(tmp_path, 0, PeerSilentError("Timed out waiting 5000ms"))
    write_failure(tmp_path, 1, ValueError("my bug"))

    assert "ValueError in process 1: my bug" in str(failure(tmp_path, DistributedSpec()))


def test_notes_of_processes_are_a_placement_by_rank(tmp_path: Path) -> None:
    for rank, rows, restarts in ((1, 5, 0), (0, 6, 1), (1, 5, 1)):
        ProcessNote(rank, "nccl", f"GPU {rank}", rows, restarts).write(tmp_path)

    expected = Placement(2, 1, "nccl", ("GPU 0", "GPU 1"), (6, 5), restarts=1)
    assert read_placement(tmp_path, 1) == expected


def test_without_a_trace_there_is_no_failure(tmp_path: Path) -> None:
    assert failure(tmp_path, DistributedSpec()) is None
    assert not is_final(tmp_path)
