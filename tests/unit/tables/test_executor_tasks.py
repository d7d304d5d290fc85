"""What executors do with rows, without a cluster."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.tables import executor_tasks
from mlops_assets.tables.executor_tasks import Target, writing_task

ROWS = 10_000


def batches(count: int, width: int = 0) -> list[pa.RecordBatch]:
    """Batches as Spark hands them to a task; each row has so many letters besides a number."""
    return [
        pa.RecordBatch.from_pydict(
            {
                "n": pa.array(range(part * ROWS, (part + 1) * ROWS), pa.int64()),
                "text": pa.array(["x" * width] * ROWS, pa.string()),
            }
        )
        for part in range(count)
    ]


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copies of the files that tasks put into S3."""
    kept: list[Path] = []

    def keep(path: Path, target: Target) -> tuple[int, str]:
        kept.append(Path(shutil.copy(path, tmp_path)))
        return kept[-1].stat().st_size, "sha256"

    monkeypatch.setattr(executor_tasks, "_sent", keep)
    return kept


def write(given: list[pa.RecordBatch], rows_per_file: int) -> list[int]:
    task = writing_task(Target("b", "p", rows_per_file), given[0].schema, "{}", {})
    return [line["rows"] for answer in task(given) for line in answer.to_pylist()]


def groups(path: Path) -> list[int]:
    found = pq.read_metadata(path)
    return [found.row_group(n).num_rows for n in range(found.num_row_groups)]


def test_small_batches_make_large_row_groups(sent: list[Path]) -> None:
    given = batches(100)
    assert write(given, 2_000_000) == [1_000_000]
    assert len(groups(sent[0])) <= 2
    assert pq.read_table(sent[0])["n"].to_pylist() == list(range(1_000_000))


def test_row_groups_end_with_files(sent: list[Path]) -> None:
    assert write(batches(7), 25_000) == [25_000, 25_000, 20_000]
    assert [groups(path) for path in sent] == [[25_000], [25_000], [20_000]]


def test_wide_rows_are_held_up_to_some_bytes(
    sent: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_tasks, "_GROUP_BYTES", 25_000_000)
    assert write(batches(8, width=1000), 1_000_000) == [80_000]
    assert groups(sent[0]) == [30_000, 30_000, 20_000]


def test_no_rows_make_no_file(sent: list[Path]) -> None:
    empty = [batch.slice(0, 0) for batch in batches(2)]
    assert write(empty, 100) == []
    assert sent == []
