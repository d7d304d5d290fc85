"""Log predictions where they are asked for, in the form that ``inference_log`` reads.

For clients and gateways that call Triton directly. Only pyarrow is needed.

    with PredictionLogger("/data/predictions") as log:
        log.add(inputs=row, prediction=0.82, model_version=3, latency_ms=4.1)
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pyarrow as pa

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
            ValueError: An input has the name of one of the log's own columns.
            OSError: It could not be kept.
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
            OSError: Something could not be kept.
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
    killed, never more. A file that cannot be written raises, and its rows wait for the next one.

    Args:
        folder: Where the files go; the ``uri`` of ``monitoring.inference_log``.
        rows_per_file: A file is written when so many rows are there.
        seconds_per_file: Or when the oldest of them is this old and another one is added.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        rows_per_file: int = 10_000,
        seconds_per_file: float = 60.0,
    ) -> None:
        self.folder = Path(folder)
        self._rows_per_file = rows_per_file
        self._seconds_per_file = seconds_per_file
        self._rows: list[dict[str, Any]] = []
        self._oldest = 0.0
        self._lock = threading.Lock()

    def _keep(self, row: dict[str, Any]) -> None:
        with self._lock:
            if not self._rows:
                self._oldest = _now()
            self._rows.append(row)
            full = len(self._rows) >= self._rows_per_file
            ready = self._take() if full or self._is_old() else []
        self._write(ready)

    def flush(self) -> None:
        """Write what was added since the last file.

        Raises:
            OSError: It could not be written; the rows are kept.
        """
        with self._lock:
            ready = self._take()
        self._write(ready)

    def _is_old(self) -> bool:
        return _now() - self._oldest >= self._seconds_per_file

    def _take(self) -> list[dict[str, Any]]:
        rows, self._rows = self._rows, []
        return rows

    def _write(self, rows: list[dict[str, Any]]) -> None:
        if rows:
            import pyarrow as pa

            try:
                write_log_file(self.folder, pa.Table.from_pylist(rows))
            except OSError:
                with self._lock:
                    self._rows = rows + self._rows
                raise


def write_log_file(folder: Path, table: pa.Table, name: str | None = None) -> Path:
    """Write rows as one Parquet file that appears with its whole content.

    Args:
        folder: Where it goes; made when it is not there.
        table: The rows.
        name: File name without its ending; a new one in the order of time by default.
    """
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    stem = name or f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    draft = folder / f".{stem}.parquet"
    try:
        with draft.open("wb") as file:
            pyarrow.parquet.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        return draft.rename(folder / f"{stem}.parquet")
    finally:
        draft.unlink(missing_ok=True)


def _answer(prediction: Any) -> float | list[float]:
    """A number, or a list of them, without NumPy's types."""
    plain = prediction.tolist() if hasattr(prediction, "tolist") else prediction
    return plain if isinstance(plain, float | int) else list(plain)


def _now() -> float:
    return time.monotonic()
