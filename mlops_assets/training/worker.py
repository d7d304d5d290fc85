"""One of the processes of a training; torchrun starts it on ``<job.json>``."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.errors import MlopsError
from mlops_assets.training.agent import AGENT_VARIABLE, MEETING_VARIABLE
from mlops_assets.training.device import choose_compute, device_name, torch_threads, usable_cores
from mlops_assets.training.failures import is_final, write_failure
from mlops_assets.training.job import EPOCHS, MEETING, Job, read_rows
from mlops_assets.training.lifeline import end_with_parent
from mlops_assets.training.placement import ProcessNote
from mlops_assets.training.result import EpochResult

if TYPE_CHECKING:
    from mlops_assets.training.core import Core
    from mlops_assets.training.device import Compute
    from mlops_assets.training.ranks import Ranks
    from mlops_assets.training.rows import TensorRows

_log = logging.getLogger(__name__)


def main(path: Path) -> int:
    """Train this process's share of the job; the exit status, 0 if beginning again is useless."""
    end_with_parent(int(os.environ[AGENT_VARIABLE]))
    job = Job.load(path)
    if is_final(job.folder):
        return 0
    from mlops_assets.training.ranks import PeerFailedError, PeerLostError

    rank = int(os.environ["RANK"])
    try:
        _train(job)
    except PeerFailedError:
        return 0
    except PeerLostError as error:
        print(error, file=sys.stderr)  # noqa: T201 - torchrun's log
        write_failure(job.folder, rank, error)
        return 1
    except Exception as error:
        write_failure(job.folder, rank, error)
        if not isinstance(error, MlopsError):
            raise
    return 0


def _train(job: Job) -> None:
    import torch

    from mlops_assets.training.agreement import tell_last
    from mlops_assets.training.core import core_of
    from mlops_assets.training.device import torch_device
    from mlops_assets.training.loop import Loop
    from mlops_assets.training.ranks import Ranks, refuse_batch_statistics

    compute = choose_compute(job.training)
    device = torch_device(compute)
    if compute.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    cores = max(1, usable_cores() // int(os.environ["LOCAL_WORLD_SIZE"]))
    with torch_threads(cores), _meeting(job, compute):
        torch.manual_seed(job.training.seed)
        core = core_of(job.model, job.directory, job.files, job.preprocessing).to(device)
        refuse_batch_statistics(core.network)
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        world = Ranks(rank, size, core.network, device)
        train, validation = world.together(lambda: _rows(job, core, compute, world))
        world.together(lambda: _note(job, compute, world, len(train)).write(job.folder))
        loop = Loop(
            core,
            job.preprocessing.label,
            train=train,
            validation=validation,
            rows=job.train_rows,
            spec=job.training,
            compute=compute,
            batch=job.batch,
            checkpoints=job.checkpoints,
            cores=cores,
            world=world,
        )
        loop.resume()
        loop.run((lambda result: _tell(job, result)) if world.is_first else None)
        if world.is_first:
            tell_last(job.checkpoints, job.folder)


@contextmanager
def _meeting(job: Job, compute: Compute) -> Iterator[None]:
    """Meet the other processes: on one machine by a file, so that nothing listens for them."""
    import torch.distributed as dist

    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    attempt = f"{os.environ[MEETING_VARIABLE]}-{os.environ['TORCHELASTIC_RESTART_COUNT']}"
    by_file = f"file://{job.folder / MEETING}-{attempt}"
    address = by_file if job.distributed.nodes == 1 else "env://"
    dist.init_process_group(
        _backend(job, compute),
        init_method=address,
        rank=rank,
        world_size=size,
        timeout=job.distributed.timeout,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _backend(job: Job, compute: Compute) -> str:
    import torch

    asked = job.distributed.backend
    if compute.device != "cuda" or asked == "gloo":
        return "gloo"
    own_device = torch.cuda.device_count() >= job.per_node
    return "cpu:gloo,cuda:nccl" if asked == "nccl" or own_device else "gloo"


def _rows(job: Job, core: Core, compute: Compute, world: Ranks) -> tuple[TensorRows, TensorRows]:
    import torch

    from mlops_assets.training.ranks import shard
    from mlops_assets.training.rows import place_tensors

    placed = []
    for name, count in (("validation", job.validation_rows), ("train", job.train_rows)):
        held = shard(count, world.rank, world.size)
        numeric, categorical, target = map(torch.from_numpy, read_rows(job.folder, name, held))
        _log.info("holding %s rows %d to %d of %d", name, held.start, held.stop, count)
        placed.append(place_tensors(numeric, categorical, target, core.encoder, compute))
    validation, train = placed
    return train, validation


def _note(job: Job, compute: Compute, world: Ranks, rows: int) -> ProcessNote:
    return ProcessNote(
        rank=world.rank,
        backend="nccl" if "nccl" in _backend(job, compute) else "gloo",
        device=device_name(compute),
        rows=rows,
        restarts=int(os.environ["TORCHELASTIC_RESTART_COUNT"]),
    )


def _tell(job: Job, result: EpochResult) -> None:
    with (job.folder / EPOCHS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result)) + "\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    sys.exit(main(Path(sys.argv[1])))
