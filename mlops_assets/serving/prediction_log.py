"""Log predictions where they are asked for, in the form that ``inference_log`` reads.

For clients and gateways that call Triton directly. Only pyarrow is needed, and boto3 for S3.

    with PredictionLogger("/data/predictions") as log:
        log.add(inputs=row, prediction=0.82, model_version=3, latency_ms=4.1)
"""

from __future__ import annotations

import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlops_assets.serving.log_files import log_writer, new_name
from mlops_assets.serving.log_rows import as_table

RESERVED = frozenset({"request_id", "time", "prediction", "model_version", "variant", "latency_ms"})
"""Columns of the log that are not inputs."""


class PredictionLog(ABC):
    """Where predictions are logged."""

    def add(
        self,
        *,
        inputs: Mapping[str, Any],
        prediction: float | Sequence[float],
        model_version: int,
        request_id: str | None = None,
        time: datetime | None = None,
        latency_ms: float | None = None,
        variant: str | None = None,
        entity: Mapping[str, Any] | None = None,
    ) -> str:
        """Log one prediction.

        Args:
            inputs: Raw values by input, as they were sent; None is missing.
            prediction: What Triton answered.
            model_version: The version that answered (``model_version`` of the response).
            request_id: Identity by which labels find it; a new one by default.
            time: When it was asked for; now by default.
            latency_ms: How long the answer took.
            variant: Arm of an experiment.
            entity: The entity's column and value, where labels are joined by entity.

        Returns:
            The request id.

        Raises:
            ValueError: An input has the name of one of the log's own columns; or rows did not fit
                their file and were left out.
            OSError: It could not be kept in a folder or a topic.
            StoreError: It could not be kept in S3.
        """
        taken = RESERVED & set(inputs)
        if taken:
            raise ValueError(f"inputs named as columns of the log: {', '.join(sorted(taken))}")
        identity = request_id or uuid.uuid4().hex
        row: dict[str, Any] = {
            "request_id": identity,
            "time": time or datetime.now(UTC),
            "model_version": int(model_version),
            "variant": variant,
            "latency_ms": latency_ms,
            "prediction": _answer(prediction),
            **(entity or {}),
            **inputs,
        }
        self._keep(row)
        return identity

    @abstractmethod
    def flush(self) -> None:
        """Send what was not sent yet.

        Raises:
            OSError: Something could not be kept in a folder or a topic.
            StoreError: Something could not be kept in S3.
        """

    @abstractmethod
    def _keep(self, row: dict[str, Any]) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()


class PredictionLogger(PredictionLog):
    """Collects predictions and writes them as Parquet files, each complete or not there at all.

    It can be used by many threads. What was added since the last file is lost if the process is
    killed, never more. A file that cannot be written raises, and is tried again with the next one,
    under its name, so that no row is there twice. Where S3 is away, that takes two minutes and a
    half: services that cannot wait so long log from a thread of their own. Rows with a value that
    does not fit its column (a text in a column of numbers) are left out of their file, and raise.

    Args:
        folder: Where the files go, a folder or ``s3://<bucket>/<prefix>``; the ``uri`` of
            ``monitoring.inference_log``.
        rows_per_file: A file is written when so many rows are there.
        seconds_per_file: Or when the oldest of them is this old and another one is added.
        max_waiting: Predictions that may wait for files that could not be written; the next one is
            refused.

    Raises:
        EnvironmentProblemError: The folder is an address of another kind.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        rows_per_file: int = 10_000,
        seconds_per_file: float = 60.0,
        max_waiting: int = 1_000_000,
    ) -> None:
        self._writer = log_writer(folder)
        self._rows_per_file = rows_per_file
        self._seconds_per_file = seconds_per_file
        self._max_waiting = max_waiting
        self._rows: list[dict[str, Any]] = []
        self._waiting: list[_File] = []
        self._oldest = 0.0
        self._lock = threading.Lock()

    def _keep(self, row: dict[str, Any]) -> None:
        with self._lock:
            waiting = sum(len(file.rows) for file in self._waiting) + len(self._rows)
            if not waiting:
                self._oldest = _now()
            if waiting < self._max_waiting:
                self._rows.append(row)
            full = len(self._rows) >= self._rows_per_file
            ready = self._take() if full or self._is_old() else []
        self._write(ready)
        if waiting >= self._max_waiting:
            raise OSError(f"{waiting:,} predictions waited to be written: this one is not logged")

    def flush(self) -> None:
        """Write what was added since the last file.

        Raises:
            OSError: It could not be written; the rows are kept.
            StoreError: It could not be written to S3; the rows are kept.
            ValueError: Rows were left out; the others are written.
        """
        with self._lock:
            ready = self._take()
        self._write(ready)

    def _is_old(self) -> bool:
        return _now() - self._oldest >= self._seconds_per_file

    def _take(self) -> list[_File]:
        """What is to be written now: files that failed before, and one of the new rows."""
        ready, self._waiting = self._waiting, []
        if self._rows:
            ready.append(_File(self._rows))
            self._rows = []
        return ready

    def _write(self, files: list[_File]) -> None:
        problems: list[str] = []
        for number, file in enumerate(files):
            table, left_out = as_table(file.rows)
            try:
                if table.num_rows:
                    self._writer(table, file.name)
            except BaseException:
                with self._lock:
                    self._waiting = files[number:] + self._waiting
                    self._oldest = _now()  # the next try is as far as the next file
                raise
            problems += left_out
        if problems:
            raise ValueError(f"{len(problems):,} predictions are not logged; {problems[0]}")


@dataclass(frozen=True)
class _File:
    rows: list[dict[str, Any]]
    name: str = field(default_factory=new_name)


def _answer(prediction: Any) -> float | list[float]:
    """A number, or a list of them, without NumPy's types."""
    plain = prediction.tolist() if hasattr(prediction, "tolist") else prediction
    return plain if isinstance(plain, float | int) else list(plain)


def _now() -> float:
    return time.monotonic()
