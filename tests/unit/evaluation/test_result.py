from __future__ import annotations

import json

import numpy as np

from mlops_assets.evaluation.result import MAX_TEXT, EvaluationResult


def test_what_json_cannot_say_is_null_and_text_is_bounded() -> None:
    result = EvaluationResult(
        verdict="blocked",
        reason="x" * 10_000,
        task="binary",
        primary="roc_auc",
        rows=np.int64(5),  # type: ignore[arg-type]
        metrics={"roc_auc": float("nan"), "brier": np.float32(0.5)},  # type: ignore[dict-item]
        slices=[{"metrics": {"roc_auc": np.float64("inf")}, "kept": np.bool_(True)}],
    )
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["metrics"] == {"roc_auc": None, "brier": 0.5}
    assert document["slices"] == [{"metrics": {"roc_auc": None}, "kept": True}]
    assert document["rows"] == 5
    assert len(document["reason"]) == MAX_TEXT
    assert EvaluationResult.from_dict(document).metrics == {"roc_auc": None, "brier": 0.5}
