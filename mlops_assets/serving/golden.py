"""Golden rows through the served model: the same answers as torch and ONNX Runtime gave?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.config.project import Project
from mlops_assets.errors import ParityError
from mlops_assets.training.parity import ParityReport, check_parity

if TYPE_CHECKING:
    from mlops_assets.training.bundle import Bundle
    from resources.triton.client import TritonClient


def golden_feeds(bundle: Bundle, start: int = 0, stop: int | None = None) -> dict[str, Any]:
    """The golden rows as the client's arrays: float32 with NaN, or objects that are ``str``."""
    inputs = bundle.golden().inputs
    feeds: dict[str, Any] = {}
    for column in bundle.schema.inputs:
        values = inputs[column.name][start:stop]
        if column.kind == "numeric":
            numbers = [np.nan if value is None else value for value in values]
            feeds[column.name] = np.array(numbers, dtype=np.float32).reshape(-1, 1)
        else:
            feeds[column.name] = np.array(values, dtype=np.object_).reshape(-1, 1)
    return feeds


def compare_golden(
    client: TritonClient, project: Project, bundle: Bundle, model: str, version: int | None
) -> dict[str, Any]:
    """Send every golden row and compare with both runtimes.

    Args:
        client: The server.
        project: The project, for its tolerance.
        bundle: The bundle that should answer.
        model: Model name.
        version: Its version; None is what clients get that name none.

    Returns:
        Both comparisons, as JSON.

    Raises:
        ParityError: The answers have another shape, are not finite, or differ by more than the
            tolerance.
        DeploymentError: The server refused the rows.
    """
    golden = bundle.golden()
    rows = len(golden.onnx)
    batch = project.spec.deployment.max_batch_size
    answers = []
    for start in range(0, rows, batch):
        feeds = golden_feeds(bundle, start, start + batch)
        answers.append(client.infer(model, version, feeds, bundle.schema.output_name))
    served = np.concatenate(answers)
    if golden.onnx.ndim == 1:
        if served.ndim != 2 or served.shape[1] != 1:
            raise ParityError(
                "the served output has the wrong shape",
                where=f"{model} version {version or '(newest)'}",
                found=served.shape,
                expected=f"({rows}, 1)",
            )
        served = served[:, 0]
    return {
        name: _compare(project, bundle, expected, served, name).to_dict()
        for name, expected in (("ONNX Runtime", golden.onnx), ("torch", golden.torch))
    }


def _compare(
    project: Project, bundle: Bundle, expected: Any, served: Any, runtime: str
) -> ParityReport:
    return check_parity(
        expected,
        served,
        task=project.spec.task,
        tolerance=project.spec.deployment.tolerance,
        threshold=project.spec.evaluation.decision_threshold,
        deviation=label_deviation(bundle),
        runtimes=(runtime, "Triton"),
    )


def label_deviation(bundle: Bundle) -> float:
    """Standard deviation of a regression label in training; 1 for other tasks."""
    return float(bundle.preprocessing["label"].get("deviation") or 1.0)
