from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mlops_assets.evaluation import plots, tables
from mlops_assets.evaluation.calibration import calibration_bins
from mlops_assets.evaluation.compare import paired_bootstrap
from mlops_assets.evaluation.curves import curves
from mlops_assets.evaluation.metrics import compute_metrics, prepare
from mlops_assets.evaluation.result import EvaluationResult
from mlops_assets.evaluation.slices import slice_rows

MAX_BYTES = 60_000
PRIMARY = {"binary": "roc_auc", "regression": "rmse", "multiclass": "log_loss"}


def _case(task: str, rows: int, classes: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if task == "multiclass":
        chances = rng.dirichlet([1] * len(classes), rows)
        return rng.choice(classes, rows), chances, rng.dirichlet([2] * len(classes), rows)
    x = rng.normal(size=rows)
    if task == "regression":
        return x + rng.normal(0, 0.3, rows), x, 0.8 * x
    chance = 1 / (1 + np.exp(-x))
    return (rng.random(rows) < chance).astype(int), chance, chance**2


def _result(task: str, rows: int = 3000, live: bool = True, count: int = 5) -> EvaluationResult:
    classes = [f"class {number}" for number in range(count)]
    y, new, old = _case(task, rows, classes)
    primary = PRIMARY[task]

    def measure(members: np.ndarray) -> dict[str, Any]:
        metrics, before = (
            compute_metrics(task, y[members], p[members], classes=classes) for p in (new, old)
        )
        values = metrics[primary], before[primary]
        known = values[0] is not None and values[1] is not None
        return {
            "metrics": metrics,
            "champion_metrics": before if live else None,
            "difference": values[0] - values[1] if known and live else None,
        }

    def bins(p: np.ndarray) -> list[dict[str, Any]]:
        labels, prepared = prepare(task, y, p, classes)
        if task == "multiclass":
            return calibration_bins(prepared.argmax(axis=1) == labels, prepared.max(axis=1))
        return calibration_bins(labels, prepared)

    def lines(p: np.ndarray) -> dict[str, Any]:
        return curves(task, *prepare(task, y, p, classes), classes)

    rng = np.random.default_rng(1)
    table = pa.table({"carrier": rng.choice(["UA", "DL", "a very long name " * 8], rows)})
    models = {"challenger": new, **({"champion": old} if live else {})}
    return EvaluationResult(
        verdict="promote",
        reason="Better.",
        task=task,
        primary=primary,
        rows=rows,
        metrics=measure(np.arange(rows))["metrics"],
        champion_metrics=measure(np.arange(rows))["champion_metrics"],
        comparison=paired_bootstrap(
            task, primary, y, old, new, resamples=100, confidence=0.95, margin=0.01, seed=1,
            classes=classes,
        )
        if live
        else None,
        gates=[{"metric": primary, "min": 0.1, "max": None, "value": 0.5, "passed": True}],
        slices=slice_rows(table, ["carrier"], measure),
        calibration={name: bins(p) for name, p in models.items()},
        curves={name: lines(p) for name, p in models.items()},
        classes=tuple(classes),
        immature=12,
    )  # fmt: skip


def _picture(body: bytes) -> np.ndarray:
    assert len(body) <= MAX_BYTES
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("binary", {"roc_and_pr", "calibration", "slices_plot"}),
        ("regression", {"residuals", "calibration", "slices_plot"}),
        ("multiclass", {"confusion", "calibration", "slices_plot"}),
    ],
)
def test_every_picture_is_drawn_small_and_on_an_opaque_light_ground(
    task: str, expected: set[str], live: bool
) -> None:
    found = plots.evaluation_pictures(_result(task, live=live))
    assert set(found) == expected | ({"champion_vs_challenger_plot"} if live else set())
    for body in found.values():
        pixels = _picture(body)
        assert pixels[0, 0].tolist() == [255, 255, 255]
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_the_largest_pictures_stay_small() -> None:
    many = _result("multiclass", rows=4000, count=60)
    for body in plots.evaluation_pictures(many).values():
        _picture(body)
    part = many.slices[0]
    wide = [
        {**part, "column": f"c{column}", "value": f"v{value}"}
        for column in range(30)
        for value in range(20)
    ]
    _picture(plots.evaluation_pictures(replace(many, slices=wide))["slices_plot"])


def test_a_result_without_evidence_has_no_pictures() -> None:
    empty = EvaluationResult("reject", "Broken.", "binary", "roc_auc", 5, {"roc_auc": None})
    assert plots.evaluation_pictures(empty) == {}


def test_undefined_bounds_and_slices_are_drawn_all_the_same() -> None:
    result = _result("binary")
    assert result.comparison is not None
    bare = {**result.slices[0], "metrics": dict.fromkeys(result.metrics), "champion_metrics": None}
    odd = replace(
        result,
        slices=[bare],
        comparison=replace(result.comparison, lower=None, upper=None, difference=0.0, margin=0.0),
    )
    assert len(plots.evaluation_pictures(odd)) == 4


HISTORY = [
    {"epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 1 / epoch + 0.01 * epoch}
    for epoch in range(1, 15)
]


@pytest.mark.parametrize(
    "history",
    [
        HISTORY,
        HISTORY[:1],
        [],
        [{"epoch": 1, "train_loss": None, "validation_loss": None}],
        [{"epoch": e, "train_loss": 10.0**-e, "validation_loss": 10.0**-e} for e in range(1, 5)],
        [{"epoch": e, "train_loss": -0.1 * e, "validation_loss": 0.0} for e in range(1, 500)],
    ],
)
def test_learning_curves(history: list[dict[str, Any]]) -> None:
    assert _picture(plots.learning_curve(history)).shape[1] == 770


def test_the_best_epoch_is_marked_where_validation_is_lowest() -> None:
    def green(**best: int) -> float:
        pixels = _picture(plots.learning_curve(HISTORY, **best)).astype(int)
        is_green = (pixels[:, :, 1] - pixels[:, :, 0] > 100) & (pixels[:, :, 2] < 160)
        return float(np.flatnonzero(is_green.sum(axis=0) > 40).mean())

    # 1 / e + 0.01 e is lowest at 10.
    assert green() == pytest.approx(green(best_epoch=10), abs=1)
    assert green(best_epoch=3) < green() - 100


def test_epochs_may_be_results_of_the_trainer() -> None:
    from mlops_assets.training.result import EpochResult

    epochs = [
        EpochResult(
            epoch=number, train_loss=1.0 / number, validation_loss=1.1 / number, metrics={},
            rows_per_second=1.0, learning_rate=0.1, seconds=1.0,
        )
        for number in (1, 2)
    ]  # fmt: skip
    _picture(plots.learning_curve(epochs))


def test_metric_rows_put_the_primary_metric_first() -> None:
    rows = tables.metric_rows(_result("binary"))
    assert rows[0]["metric"] == "roc_auc"
    assert [row["primary"] for row in rows] == [True] + [False] * (len(rows) - 1)
    assert {row["metric"]: row["better"] for row in rows}["log_loss"] == "lower"
    assert all("live" in row for row in rows)
    assert not any("live" in row for row in tables.metric_rows(_result("binary", live=False)))


def test_comparison_rows_hold_the_interval_of_the_primary_metric() -> None:
    result = _result("regression")
    assert result.comparison is not None
    rows = tables.comparison_rows(result)
    assert rows[0]["metric"] == "rmse"
    assert rows[0]["better"] == "challenger"
    assert rows[0]["non_inferior"] is True
    assert rows[0]["upper"] == tables.rounded(result.comparison.upper)
    assert {row["upper"] for row in rows[1:]} == {None}
    assert {row["metric"]: row["better"] for row in rows}["r2"] == "challenger"
    assert tables.comparison_rows(_result("regression", live=False)) == []


def test_slice_and_gate_rows_are_flat() -> None:
    result = _result("binary")
    rows = [*tables.slice_rows(result), *tables.gate_rows(result), *tables.metric_rows(result)]
    assert len(rows) > 5
    for row in rows:
        assert all(isinstance(value, (str, int, float, bool, type(None))) for value in row.values())
    assert sum(int(row["rows"]) for row in tables.slice_rows(result)) == 3000


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.7423191, 0.7423), (1.23456e-7, 1.235e-7), (-123456.7, -123457.0), (None, None), (0.0, 0.0)],
)
def test_numbers_are_rounded_to_what_can_be_read(value: float | None, shown: float | None) -> None:
    assert tables.rounded(value) == shown


def test_the_summary_says_verdict_reason_rows_and_interval() -> None:
    text = tables.summary(_result("binary"))
    assert text.startswith("**promote** — Better.")
    for word in ("test rows: 3,000", "12 whose labels", "gates kept: 1 of 1", "100 paired",
                 "worst slice"):  # fmt: skip
        assert word in text


def test_the_worst_slice_follows_the_metrics_goal() -> None:
    result = _result("regression")
    values = {part["value"]: part["metrics"]["rmse"] for part in result.slices}
    assert f"carrier = {max(values, key=lambda name: values[name])}" in tables.summary(result)
