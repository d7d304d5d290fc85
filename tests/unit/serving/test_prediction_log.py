"""Bad rows, and places that cannot be written: what is kept, what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.errors import EnvironmentProblemError
from mlops_assets.serving import prediction_log
from mlops_assets.serving.log_rows import as_table
from mlops_assets.serving.prediction_log import PredictionLogger


def add(log: PredictionLogger, **values: Any) -> None:
    log.add(**({"inputs": {"x": 1.0}, "prediction": 0.5, "model_version": 1} | values))


def logged(folder: Path) -> pa.Table:
    return pa.concat_tables(
        [pq.read_table(file) for file in sorted(folder.glob("*.parquet"))],
        promote_options="default",
    )


def test_one_bad_row_takes_no_other_along(tmp_path: Path) -> None:
    log = PredictionLogger(tmp_path, rows_per_file=10)
    add(log, inputs={"x": "n/a"}, prediction=[0.5, 0.5])
    for number in range(8):
        add(log, inputs={"x": float(number)}, prediction=np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"^1 predictions are not logged; x: found a string,") as e:
        add(log, inputs={"x": 9}, prediction=[1, 0])
    assert "n/a" not in str(e.value)
    assert logged(tmp_path)["x"].to_pylist() == [*range(8), 9]
    add(log, prediction=[0.0, 1.0])
    log.flush()
    assert len(logged(tmp_path)) == 10


def test_rows_need_not_have_the_same_inputs(tmp_path: Path) -> None:
    with PredictionLogger(tmp_path) as log:
        add(log, inputs={"x": 1.0})
        add(log, inputs={"x": 2.0, "y": "late"}, entity={"id": 7})
    table = logged(tmp_path)
    assert table["y"].to_pylist() == [None, "late"]
    assert table["id"].to_pylist() == [None, 7]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([1, 2.5, None], [1.0, 2.5, None]),
        ([2**60 + 1, 2.5], [float(2**60 + 1), 2.5]),
        ([2**70, 2, 3], [2, 3]),
        ([object(), "a", "b"], ["a", "b"]),
        ([[1.0], 2.0, 3.0], [2.0, 3.0]),
        ([True, 1, 2], [1, 2]),
        ([None, None], [None, None]),
        ([[1], [2.5]], [[1.0], [2.5]]),
    ],
)
def test_the_most_common_kind_stays(values: list[Any], kept: list[Any]) -> None:
    table, problems = as_table([{"x": value} for value in values])
    assert table["x"].to_pylist() == kept
    assert len(problems) == len(values) - len(kept)


@pytest.mark.parametrize("error", [OSError("full"), EnvironmentProblemError("no such profile")])
def test_what_cannot_be_written_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    log = PredictionLogger(tmp_path / "log", rows_per_file=2)

    def fail(table: pa.Table, name: str) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(log, "_writer", fail)
        add(log)
        with pytest.raises(type(error)):
            add(log)
    log.flush()
    assert len(logged(tmp_path / "log")) == 2


def test_waiting_predictions_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(prediction_log, "_now", lambda: now)
    place = tmp_path / "log"
    place.write_text("in the way")
    log = PredictionLogger(place, rows_per_file=2, max_waiting=5)
    for number in range(9):
        ready = number in {1, 3}  # then five wait, and a try is made when time has passed
        waits = number >= 5
        if ready or waits:
            with pytest.raises(OSError, match="5 predictions waited" if waits else "log"):
                add(log)
        else:
            add(log)
    now = 61.0
    with pytest.raises(FileExistsError):
        add(log)
    place.unlink()
    log.flush()
    assert len(logged(place)) == 5


def test_rows_that_do_not_fit_one_another_take_no_other_file_along(tmp_path: Path) -> None:
    """What Arrow cannot put into one column is given up, and not tried for ever."""
    log = PredictionLogger(tmp_path, rows_per_file=2)
    add(log, prediction=[2**60 + 1, 0])
    with pytest.raises(ValueError, match="2 predictions are not logged"):
        add(log, prediction=[0.5, 0.5])
    with log:
        add(log)
    assert len(logged(tmp_path)) == 1
