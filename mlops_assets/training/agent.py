"""``python -m mlops_assets.training.agent <job.json> <pid of the starter>``: torchrun for a job.

torchrun starts the processes of this machine, begins them all again when one dies, and ends when
they are done. Around it: it ends when its starter is gone, it opens no port that another machine
can reach unless there are other machines, and it leaves exit codes where the starter reads them.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from uuid import uuid4

from mlops_assets.errors import TrainingError
from mlops_assets.training.failures import write_exit_codes, write_failure
from mlops_assets.training.job import MEETING, Job
from mlops_assets.training.lifeline import end_with_parent

LOOPBACK = "127.0.0.1"
LOOPBACK_INTERFACE = "lo"
AGENT_VARIABLE = "MLOPS_TRAINING_AGENT"
"""Process id of the agent, for its workers."""
MEETING_VARIABLE = "MLOPS_TRAINING_MEETING"
"""A name that no earlier agent used."""
_STOPPING_SECONDS = 60
"""More than the other machines need to end processes that do not answer, and to come back."""
_AFTER_ALL_RANKS = 2**31
"""Rank of an agent's own error: a process's comes first."""


def arguments(job: Job, path: Path) -> list[str]:
    """Of torchrun."""
    distributed = job.distributed
    options = ["store_type=file"] if distributed.nodes == 1 else []
    if distributed.nodes == 1:
        meeting = [
            *("--rdzv-endpoint", f"{job.folder / MEETING}-{uuid4().hex}"),
            *("--local-addr", LOOPBACK),
        ]
    else:
        meeting = ["--rdzv-endpoint", str(distributed.rendezvous)]
    return [
        *("--nnodes", str(distributed.nodes)),
        *("--nproc-per-node", str(job.per_node)),
        *("--max-restarts", str(distributed.max_restarts)),
        *("--rdzv-backend", "c10d", "--rdzv-id", job.id),
        *meeting,
        *("--rdzv-conf", ",".join([*options, f"join_timeout={meeting_seconds(job)}"])),
        *("--monitor-interval", "0.2"),
        *("--module", "mlops_assets.training.worker", str(path)),
    ]


def main(path: Path, starter: int) -> int:
    """Run torchrun on the job; the exit status."""
    end_with_parent(starter)
    os.environ[AGENT_VARIABLE] = str(os.getpid())
    os.environ[MEETING_VARIABLE] = uuid4().hex
    job = Job.load(path)
    if job.distributed.nodes == 1:
        for library in ("GLOO", "NCCL"):
            os.environ[f"{library}_SOCKET_IFNAME"] = LOOPBACK_INTERFACE

    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousTimeoutError
    from torch.distributed.run import parse_args, run

    try:
        run(parse_args(arguments(job, path)))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        write_exit_codes(job.folder, {r: each.exitcode for r, each in error.failures.items()})
        return 1
    except RendezvousTimeoutError:
        write_failure(job.folder, _AFTER_ALL_RANKS, _not_met(job))
        return 1
    return 0


def meeting_seconds(job: Job) -> int:
    """How long a machine waits for the others, at the start and before each new beginning."""
    return math.ceil(job.distributed.timeout.total_seconds()) + _STOPPING_SECONDS


def _not_met(job: Job) -> TrainingError:
    distributed = job.distributed
    return TrainingError(
        "the machines of the training did not meet",
        where=f"training.distributed, at {distributed.rendezvous or 'a file'}",
        found=f"fewer than {distributed.nodes} after {meeting_seconds(job)} seconds",
        expected=f"{distributed.nodes} machines (training.distributed.nodes)",
        fix="run `python -m mlops_assets.training.join` on each of the others, and look whether "
        "all reach the rendezvous",
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
