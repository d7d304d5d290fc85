"""Ask the live model over HTTP, as any client would, and compare with ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from mlops_assets.config.project import Project
from mlops_assets.errors import DeploymentError, ServerUnavailableError
from mlops_assets.serving.golden import label_deviation
from mlops_assets.serving.predict import example_row, live_bundle, make_feeds, request_body
from mlops_assets.serving.target import Target
from mlops_assets.training.scoring import open_session, run_session

if TYPE_CHECKING:
    from resources.settings import Settings
    from resources.store import Store

HTTP_SECONDS = 10


@dataclass(frozen=True)
class LiveAnswer:
    """One prediction of the live model.

    Attributes:
        version: The version that answered.
        served: Its answer (multiclass: of the first class).
        expected: ONNX Runtime's answer for the same row.
        agrees: Whether they are the same within the project's tolerance.
    """

    version: int
    served: float
    expected: float
    agrees: bool


def verify_live(project: Project, *, store: Store, settings: Settings) -> LiveAnswer:
    """Send a real test row and compare.

    Raises:
        ServerUnavailableError: Triton does not answer.
        DeploymentError: It answers with an error, or with another version.
    """
    bundle, version = live_bundle(project, store)
    row = {k: v for k, v in example_row(bundle).items() if v is not None}
    url = Target.of(project, settings).predict_url(project)
    answer = _post(url, request_body(bundle.schema, row))
    served = float(answer["outputs"][0]["data"][0])
    session = open_session(str(bundle.onnx_path))
    expected = float(
        run_session(session, make_feeds([row], bundle.schema), bundle.schema).ravel()[0]
    )
    tolerance = project.spec.deployment.tolerance
    unit = label_deviation(bundle)
    allowed = tolerance.absolute * unit + tolerance.relative * abs(expected)
    same_version = int(answer["model_version"]) == version
    return LiveAnswer(version, served, expected, same_version and abs(served - expected) <= allowed)


def _post(url: str, body: object) -> dict[str, Any]:
    try:
        response = requests.post(url, json=body, timeout=HTTP_SECONDS)
    except requests.RequestException as error:
        raise ServerUnavailableError(
            "the model server does not answer", where=url, found=error, fix="mlops up"
        ) from error
    if not response.ok:
        raise DeploymentError(
            "the model server refused the row", where=url, found=response.text[:500]
        )
    answer: dict[str, Any] = response.json()
    return answer
