"""How a training process tells the run why it ended, and how the run tells it on."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

from mlops_assets import errors
from mlops_assets.config.distributed import DistributedSpec
from mlops_assets.errors import MlopsError, TrainingError
from mlops_assets.training.job import write_json
from mlops_assets.training.placement import read_placement

_FAILURES = "failed-*.json"
_EXIT_CODES = "exit-codes.json"
_SILENCE = "PeerSilentError"
_LOSSES = frozenset({"PeerLostError", _SILENCE})
"""What a process tells about others: names of errors in ``ranks.py``."""
_ENDED_WITH_OTHERS = -signal.SIGTERM
"""Exit code of a process that torchrun ended because another one had failed."""
_WATCHDOG = "killed by SIGABRT, as NCCL's watchdog does when the others do not answer"
_PARTS = ("problem", "where", "found", "expected", "fix")


def write_failure(folder: Path, rank: int, error: Exception) -> None:
    """Leave an error of this process.

    Only an error on purpose is final: the same processes would come to it again. Any other is
    kept for the case that beginning again does not help.
    """
    is_final = isinstance(error, MlopsError)
    parts = {name: getattr(error, name) for name in _PARTS} if is_final else {"problem": str(error)}
    values = {"final": is_final, "rank": rank, "kind": type(error).__name__, **parts}
    write_json(folder / _FAILURES.replace("*", str(rank)), values)


def is_final(folder: Path) -> bool:
    """Whether beginning again is of no use."""
    return any(each["final"] for each in _failures(folder))


def write_exit_codes(folder: Path, codes: Mapping[int, int]) -> None:
    """Leave the exit codes of processes that died, by rank."""
    write_json(folder / _EXIT_CODES, {str(rank): code for rank, code in codes.items()})


def failure(folder: Path, distributed: DistributedSpec) -> MlopsError | None:
    """The error to raise for a training whose processes ended: a process's own, if it told one."""
    found = sorted(_failures(folder), key=lambda each: (not each["final"], each["rank"]))
    on_purpose = _on_purpose(found[0]) if found else None
    if on_purpose is not None:
        return on_purpose
    path = folder / _EXIT_CODES
    if not found and not path.is_file():
        return None
    codes = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    own = [each for each in found if each["kind"] not in _LOSSES]
    aborted = [rank for rank, code in sorted(codes.items()) if _is_watchdog(code, folder)]
    harmless = {_ENDED_WITH_OTHERS, *(codes[rank] for rank in aborted)}
    is_dead = any(code < 0 and code not in harmless for code in codes.values())
    waited = [*_waited(found), *(f"process {rank}: {_WATCHDOG}" for rank in aborted)]
    if waited and not own and not is_dead:
        return _silence(waited[0], distributed)
    return _death(own, codes, distributed)


def _on_purpose(told: dict[str, str]) -> MlopsError | None:
    kind = getattr(errors, told["kind"], None)
    if not told["final"] or not isinstance(kind, type) or not issubclass(kind, MlopsError):
        return None
    parts = {name: told[name] for name in _PARTS if name != "problem"}
    return kind(told["problem"], **parts)


def _waited(found: list[dict[str, str]]) -> list[str]:
    """What processes tell that waited in vain."""
    return [
        f"process {each['rank']} waited for the others: {each['problem']}"
        for each in found
        if each["kind"] == _SILENCE
    ]


def _is_watchdog(code: int, folder: Path) -> bool:
    """Whether NCCL's watchdog ended the process: an exchange that hangs raises nothing there."""
    return code == -signal.SIGABRT and read_placement(folder, 1).backend == "nccl"


def _silence(found: str, distributed: DistributedSpec) -> TrainingError:
    seconds = distributed.timeout.total_seconds()
    return TrainingError(
        "a training process did not answer",
        where=f"training.distributed, after {distributed.max_restarts} restarts",
        found=found,
        expected=f"an answer within {seconds:g} seconds (training.distributed.timeout)",
        fix="look whether a machine stands still, swaps or lost its network; write a longer "
        "timeout if a step takes that long; the last checkpoint is kept",
    )


def _death(
    own: list[dict[str, str]], codes: dict[str, int], distributed: DistributedSpec
) -> TrainingError:
    ends = [f"process {rank}: {_end(code)}" for rank, code in sorted(codes.items())]
    told = [f"{each['kind']} in process {each['rank']}: {each['problem']}" for each in own[:1]]
    return TrainingError(
        "a training process died again and again",
        where=f"training.distributed, after {distributed.max_restarts} restarts",
        found="; ".join([*told, *ends]),
        fix="a signal 9 without an error is often the machine's memory: take fewer processes; "
        "the last checkpoint is kept",
    )


def _failures(folder: Path) -> list[dict[str, str]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(_FAILURES)]


def _end(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
