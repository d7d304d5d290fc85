"""Ask the live model, as its clients do: raw values, one tensor for each column."""

from __future__ import annotations

import difflib
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.config.project import Project
from mlops_assets.errors import DeploymentError, SchemaError
from mlops_assets.serving.apply import stored_bundle
from mlops_assets.serving.target import Target
from mlops_assets.training.bundle import Bundle
from mlops_assets.training.bundle_schema import BundleSchema
from resources.ledger import Ledger

if TYPE_CHECKING:
    from resources.settings import Settings
    from resources.store import Store

Row = Mapping[str, Any]


def live_bundle(project: Project, store: Store) -> tuple[Bundle, int]:
    """The champion's bundle and version.

    Raises:
        DeploymentError: Nothing is live.
    """
    state = Ledger(store, project.id.ledger_prefix).state()
    if state.champion is None:
        raise DeploymentError(
            "nothing is live yet",
            where=str(project.id),
            fix=f"run the lifecycle first: mlops run {project.id}",
        )
    return stored_bundle(project, store, state.champion.bundle_id), state.champion.version


def predict(
    project: Project, rows: Sequence[Row], *, store: Store, settings: Settings
) -> list[dict[str, Any]]:
    """Predictions of the live model.

    Args:
        project: The project.
        rows: Raw values by column; what is left out or None is missing.
        store: Bundles and ledger.
        settings: Where the server is.

    Returns:
        For each row ``{"probability": …}`` (binary), ``{"prediction": …}`` (regression) or
        ``{"class": …, "probabilities": {…}}`` (multiclass).

    Raises:
        SchemaError: A column is unknown, or a numeric value is no number.
        ServerUnavailableError: Triton does not answer.
        DeploymentError: Nothing is live, or Triton refused the rows.
    """
    from resources.triton.client import TritonClient

    bundle, _ = live_bundle(project, store)
    schema = bundle.schema
    batch = project.spec.deployment.max_batch_size
    answers: list[dict[str, Any]] = []
    with TritonClient(Target.of(project, settings).grpc_url) as client:
        for start in range(0, len(rows), batch):
            feeds = make_feeds(rows[start : start + batch], schema)
            output = client.infer(project.id.triton_model, None, feeds, schema.output_name)
            answers += [_answer(values, schema) for values in output.tolist()]
    return answers


def make_feeds(rows: Sequence[Row], schema: BundleSchema) -> dict[str, Any]:
    """Rows as the model's input arrays ``[N, 1]``: float32 with NaN, or objects that are ``str``.

    Raises:
        SchemaError: A column is unknown, or a numeric value is no number.
    """
    names = [column.name for column in schema.inputs]
    unknown = sorted({name for row in rows for name in row} - set(names))
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=1)
        raise SchemaError(
            "the model has no such input",
            found=", ".join(unknown),
            expected=", ".join(names),
            fix=f"did you mean {near[0]}?" if near else "leave the column out",
        )
    feeds: dict[str, Any] = {}
    for column in schema.inputs:
        values = [row.get(column.name) for row in rows]
        if column.kind == "numeric":
            numbers = [_number(column.name, value) for value in values]
            feeds[column.name] = np.array(numbers, dtype=np.float32).reshape(-1, 1)
        else:
            texts = [_text(value) for value in values]
            feeds[column.name] = np.array(texts, dtype=np.object_).reshape(-1, 1)
    return feeds


def example_row(bundle: Bundle) -> dict[str, Any]:
    """A row that the model was tested with, as complete as there is one."""
    inputs = bundle.golden().inputs
    count = len(next(iter(inputs.values())))
    real = range(min(3, count - 1), count)

    def missing(row: int) -> int:
        return sum(values[row] in (None, "") for values in inputs.values())

    best = min(real, key=missing)
    return {name: values[best] for name, values in inputs.items()}


def request_body(schema: BundleSchema, row: Row) -> dict[str, Any]:
    """The JSON of one row in the Open Inference Protocol (v2).

    A missing number cannot be written in JSON: the engine sends it in binary, and here such a
    value is refused.

    Raises:
        SchemaError: A numeric value is missing.
    """
    feeds = make_feeds([row], schema)
    inputs = []
    for column in schema.inputs:
        value = feeds[column.name][0, 0]
        if column.kind == "numeric" and math.isnan(value):
            raise SchemaError(
                "a missing number cannot be written in JSON",
                found=column.name,
                fix="send the row over gRPC (`mlops predict`), where NaN means missing",
            )
        inputs.append(
            {
                "name": column.name,
                "shape": [1, 1],
                "datatype": "FP32" if column.kind == "numeric" else "BYTES",
                "data": [float(str(value)) if column.kind == "numeric" else value],
            }
        )
    return {"inputs": inputs}


def render_request(bundle: Bundle, row: Row, url: str) -> str:
    """A ``curl`` command for one row that can be pasted into a shell.

    Missing numbers are written as the median of the training rows.
    """
    medians = {column["name"]: column["median"] for column in bundle.preprocessing["numeric"]}
    filled = {name: medians.get(name) if value is None else value for name, value in row.items()}
    body = json.dumps(request_body(bundle.schema, medians | filled))
    return f"curl -s {shlex.quote(url)} -d {shlex.quote(body)}"


def _number(name: str, value: Any) -> float:
    if value is None or value == "":
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SchemaError(
            "a numeric input got something else", where=name, found=repr(value), expected="a number"
        ) from None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _answer(values: list[float], schema: BundleSchema) -> dict[str, Any]:
    if schema.task != "multiclass":
        return {schema.output_name: values[0]}
    best = max(range(len(values)), key=values.__getitem__)
    shares = dict(zip(schema.classes, values, strict=True))
    return {"class": schema.classes[best], schema.output_name: shares}
