"""``evaluate`` from table to verdict, with real ONNX models scored by ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from mlops_assets.config.project import Project
from mlops_assets.errors import EvaluationError
from mlops_assets.evaluation.metrics import compute_metrics
from mlops_assets.evaluation.result import EvaluationResult
from mlops_assets.evaluation.verdict import evaluate
from mlops_assets.training.bundle_schema import BundleSchema, InputColumn
from mlops_assets.training.split import Split, split_rows

GOOD, BAD = 2.0, -0.5
"""Slopes: the label follows a logistic curve of slope 2."""


@dataclass(frozen=True)
class LinearBundle:
    """What an evaluation reads of a bundle, with a real ``model.onnx``."""

    id: str
    onnx_path: Path
    schema: BundleSchema
    split: dict[str, Any]
    config: dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """A project, its rows, and a way to make bundles for them."""

    project: Project
    table: pa.Table
    split: Split
    folder: Path

    def bundle(self, slopes: float | Sequence[float], column: str = "x", **other: Any) -> Any:
        """A model of one number: logistic, linear, or softmax over several slopes."""
        task = other.pop("task", self.project.spec.task)
        classes = other.pop("classes", ("a", "b", "c") if task == "multiclass" else ())
        rows = np.atleast_2d(np.array(slopes, dtype=np.float32))
        name = f"{task}-{column}-{slopes}"
        path = self.folder / f"{abs(hash(name))}.onnx"
        output = _write(path, rows, column, task)
        schema = BundleSchema(
            inputs=(InputColumn(name=column, kind="numeric"),),
            task=task,
            output_name=output,
            classes=classes,
        )
        made = LinearBundle(
            f"sha256:{name}", path, schema, self.split.describe(), self.project.written
        )
        return replace(made, **other)

    def evaluate(self, bundle: Any, champion: Any = None, **known: Any) -> EvaluationResult:
        return evaluate(self.project, bundle, self.table, self.split, champion, **known)


def _write(path: Path, slopes: np.ndarray, column: str, task: str) -> str:
    last, output = {
        "binary": ("Sigmoid", "probability"),
        "multiclass": ("Softmax", "probabilities"),
        "regression": ("Identity", "prediction"),
    }[task]
    width = slopes.shape[1]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [column, "slopes"], ["raw"]),
            helper.make_node(last, ["raw"], [output]),
        ],
        "linear",
        [helper.make_tensor_value_info(column, TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor("slopes", TensorProto.FLOAT, [1, width], slopes.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return output


@pytest.fixture
def make_setting(
    make_project: Callable[..., Project], make_table: Callable[..., pa.Table], tmp_path: Path
) -> Callable[..., Setting]:
    def make(task: str = "binary", rows: int = 2000, **changes: Any) -> Setting:
        project = make_project(task=task, **changes)
        table = make_table(rows=rows, task=task)
        return Setting(project, table, split_rows(table, project.spec), tmp_path)

    return make


def test_a_first_model_is_promoted_on_gates_alone(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting(
        evaluation={"gates": [{"metric": "roc_auc", "min": 0.7}], "slices": ["carrier"]}
    )
    result = setting.evaluate(setting.bundle(GOOD))
    assert (result.verdict, result.rows) == ("promote", 400)
    test = setting.table.take(pa.array(setting.split.test))
    by_hand = 1 / (1 + np.exp(-GOOD * test["x"].to_numpy()))
    expected = compute_metrics("binary", test["label"].to_numpy(), by_hand.astype(np.float32))
    assert result.metrics == pytest.approx(expected, rel=1e-5)
    assert result.comparison is None
    assert result.champion_metrics is None
    assert [part["value"] for part in result.slices] != []
    assert sum(part["rows"] for part in result.slices) == 400
    assert result.test_from == setting.split.test_from


def test_a_failed_gate_rejects(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting(evaluation={"gates": [{"metric": "roc_auc", "min": 0.7}]})
    result = setting.evaluate(setting.bundle(BAD))
    assert result.verdict == "reject"
    assert "below its gate's minimum 0.7" in result.reason
    assert [gate["passed"] for gate in result.gates] == [False]


@pytest.mark.parametrize(
    ("new", "live", "verdict"), [(GOOD, 0.1, "promote"), (0.1, GOOD, "reject")]
)
def test_the_champion_is_scored_on_the_same_rows_and_decides(
    make_setting: Callable[..., Setting], new: float, live: float, verdict: str
) -> None:
    setting = make_setting(evaluation={"primary": {"metric": "log_loss"}, "slices": ["carrier"]})
    champion = setting.bundle(live)
    result = setting.evaluate(setting.bundle(new), champion, champion_version=7)
    assert result.verdict == verdict
    assert result.champion_version == 7
    assert result.comparison is not None
    assert result.champion_metrics is not None
    alone = setting.evaluate(champion)
    assert result.champion_metrics == alone.metrics
    assert result.comparison.champion == pytest.approx(alone.metrics["log_loss"])
    # The margin is 1 % of the champion's value.
    assert result.comparison.margin == pytest.approx(0.01 * result.comparison.champion)
    for part in result.slices:
        gap = part["metrics"]["log_loss"] - part["champion_metrics"]["log_loss"]
        assert part["difference"] == pytest.approx(gap)


def test_the_live_model_again_is_unchanged(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting()
    bundle = setting.bundle(GOOD)
    result = setting.evaluate(bundle, bundle, champion_version=2)
    assert result.verdict == "unchanged"
    assert result.champion_metrics == result.metrics
    assert result.comparison is not None
    assert result.comparison.difference == 0.0


def test_too_few_rows_promote_nothing(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting(rows=450)
    assert len(setting.split.test) < 100
    result = setting.evaluate(setting.bundle(GOOD))
    assert result.verdict == "insufficient_data"
    assert result.metrics["roc_auc"] is not None


def test_immature_labels_are_counted_and_shown(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting(rows=750, features={"label": {"matures_after": "300h"}})
    result = setting.evaluate(setting.bundle(GOOD))
    assert result.immature == 300
    assert result.verdict == "insufficient_data"
    assert "pending: 300 newer rows" in result.reason


@pytest.mark.parametrize("policy", ["block", "promote"])
def test_an_unreachable_champion_blocks_by_default(
    make_setting: Callable[..., Setting], policy: str
) -> None:
    setting = make_setting(evaluation={"promote_if": {"if_champion_unavailable": policy}})
    result = setting.evaluate(
        setting.bundle(GOOD), None, champion_version=3, champion_problem="its bundle is gone"
    )
    assert result.verdict == ("promote" if policy == "promote" else "blocked")
    assert "its bundle is gone" in result.reason
    assert result.champion_problem == "its bundle is gone"


def test_a_champion_that_needs_a_dropped_column_blocks(
    make_setting: Callable[..., Setting],
) -> None:
    setting = make_setting()
    result = setting.evaluate(
        setting.bundle(GOOD), setting.bundle(GOOD, column="gone"), champion_version=3
    )
    assert result.verdict == "blocked"
    assert "no longer have: gone" in result.reason


def test_a_champion_of_another_task_blocks(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting()
    champion = setting.bundle(GOOD, task="regression")
    result = setting.evaluate(setting.bundle(GOOD), champion, champion_version=3)
    assert result.verdict == "blocked"
    assert "trained for regression" in result.reason


def test_a_champion_that_answers_nan_blocks(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting()
    champion = setting.bundle(float("nan"))
    result = setting.evaluate(setting.bundle(GOOD), champion, champion_version=3)
    assert result.verdict == "blocked"
    assert "400 of its 400 predictions are not finite" in result.reason


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_a_model_that_answers_nan_is_rejected(
    make_setting: Callable[..., Setting], task: str
) -> None:
    setting = make_setting(task, evaluation={"slices": ["carrier"]})
    slopes = [float("nan"), 1.0, 2.0] if task == "multiclass" else float("nan")
    result = setting.evaluate(
        setting.bundle(slopes), setting.bundle(0.5 if task != "multiclass" else [0.0, 1.0, 2.0])
    )
    assert result.verdict == "reject"
    assert "400 of its 400 predictions are not finite" in result.reason
    assert set(result.metrics.values()) == {None}
    json.dumps(result.to_dict(), allow_nan=False)


def test_seen_rows_are_refused_before_anything_is_scored(
    make_setting: Callable[..., Setting],
) -> None:
    setting = make_setting()
    bundle = setting.bundle(GOOD, split={**setting.split.describe(), "train_until": "2030-01-01"})
    with pytest.raises(EvaluationError, match="as new as the test rows"):
        setting.evaluate(bundle)
    with pytest.raises(EvaluationError, match="the live model"):
        setting.evaluate(setting.bundle(GOOD), replace(bundle, id="sha256:live"))


def test_entities_with_several_rows_are_resampled_whole(
    make_project: Callable[..., Project], make_table: Callable[..., pa.Table], tmp_path: Path
) -> None:
    project, table = make_project(), make_table(rows=2000, entities=150)
    setting = Setting(project, table, split_rows(table, project.spec), tmp_path)
    result = setting.evaluate(setting.bundle(GOOD), setting.bundle(1.0))
    assert result.comparison is not None
    assert (result.rows, result.comparison.units) == (400, 150)


def test_regression_is_compared_by_rmse(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting("regression")
    result = setting.evaluate(setting.bundle(2.0), setting.bundle(1.5), champion_version=1)
    assert result.verdict == "promote"
    assert result.comparison is not None
    assert result.comparison.metric == "rmse"
    assert result.metrics["rmse"] == pytest.approx(0.5, abs=0.05)
    assert set(result.curves["challenger"]) == {"residuals", "predicted_vs_actual"}


def test_a_class_that_the_champion_does_not_know_counts_against_it(
    make_setting: Callable[..., Setting],
) -> None:
    setting = make_setting("multiclass")
    champion = setting.bundle([-3.0, 0.0], classes=("a", "b"))
    result = setting.evaluate(setting.bundle([-3.0, 0.0, 3.0]), champion, champion_version=1)
    assert result.verdict == "promote"
    assert result.classes == ("a", "b", "c")
    assert result.champion_metrics is not None
    assert result.champion_metrics["log_loss"] > 3 > result.metrics["log_loss"]


def test_the_order_of_classes_is_the_models_own(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting("multiclass")
    one = setting.evaluate(setting.bundle([-3.0, 0.0, 3.0], classes=("a", "b", "c")))
    other = setting.bundle([3.0, 0.0, -3.0], classes=("c", "b", "a"))
    assert setting.evaluate(other).metrics == pytest.approx(one.metrics)
    compared = setting.evaluate(setting.bundle([-3.0, 0.0, 3.0]), other)
    assert compared.comparison is not None
    assert compared.comparison.difference == pytest.approx(0.0, abs=1e-6)


def test_personal_data_never_reach_the_result(make_setting: Callable[..., Setting]) -> None:
    setting = make_setting(features={"pii": ["trip"]}, evaluation={"slices": ["carrier"]})
    text = json.dumps(setting.evaluate(setting.bundle(GOOD)).to_dict(), allow_nan=False)
    names = setting.table["trip"].to_pylist()
    assert len(names) == 2000
    assert not any(f'"{name}"' in text for name in names)


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_a_result_survives_json(make_setting: Callable[..., Setting], task: str) -> None:
    setting = make_setting(task, evaluation={"slices": ["carrier"]})
    slopes = [-3.0, 0.0, 3.0] if task == "multiclass" else GOOD
    worse = [-1.0, 0.0, 1.0] if task == "multiclass" else 1.0
    result = setting.evaluate(setting.bundle(slopes), setting.bundle(worse), champion_version=1)
    text = json.dumps(result.to_dict(), allow_nan=False)
    again = EvaluationResult.from_dict(json.loads(text))
    assert json.dumps(again.to_dict()) == text
    assert (again.verdict, again.comparison, again.test_until) == (
        result.verdict, result.comparison, result.test_until,
    )  # fmt: skip
    assert len(text) < 100_000
