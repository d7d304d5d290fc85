"""History as requests to the real model server, logged as a client would log them."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.monitoring.report import log_of
from mlops_assets.replay.world import World, label_delay
from mlops_assets.serving.log_files import write_log_file
from mlops_assets.serving.predict import live_bundle
from mlops_assets.serving.target import Target
from mlops_assets.training.scoring import onnx_feeds

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.training.bundle import Bundle
    from resources.settings import Settings
    from resources.store import Store


def send(world: World, start: datetime, end: datetime, store: Store, settings: Settings) -> int:
    """Ask the live model about everything that happened in ``[start, end)`` and log the answers.

    Returns:
        The number of requests.

    Raises:
        ServerUnavailableError: Triton does not answer.
        DeploymentError: Nothing is live.
    """
    rows = world.requests(start, end)
    if not rows.num_rows:
        return 0
    bundle, version = live_bundle(world.project, store)
    answers = _ask(world, rows, bundle, version, settings)
    log_answers(world, rows, answers, bundle, version)
    return int(rows.num_rows)


def log_answers(
    world: World,
    rows: pa.Table,
    answers: tuple[np.ndarray, np.ndarray | None],
    bundle: Bundle,
    version: int,
) -> None:
    """Write requests and answers as one file of the inference log.

    Args:
        world: Whose log.
        rows: The requests, as feature rows.
        answers: Predictions ``(N,)`` or ``(N, K)``, and milliseconds ``(N,)`` where known.
        bundle: The model that answered.
        version: Its version.
    """
    import pyarrow as pa

    log, features = log_of(world.project), world.project.spec.features
    prediction, latency = answers
    flat = prediction.reshape(rows.num_rows, -1)
    values: Any = flat[:, 0] if flat.shape[1] == 1 else list(flat)
    own = {
        log.request_id: request_ids(rows, features.entity, features.time),
        log.time: rows[features.time],
        log.prediction: pa.array(values),
        log.model_version: pa.array(np.full(rows.num_rows, version, dtype=np.int64)),
    }
    if latency is not None:
        own[log.latency_ms] = pa.array(latency)
    inputs = {column.name: rows[column.name] for column in bundle.schema.inputs}
    first = rows[features.time][0].as_py()
    write_log_file(world.log_folder, pa.table({**own, **inputs}), f"{first:%Y%m%dT%H%M%S%f}")


def deliver_labels(world: World, start: datetime, end: datetime) -> int:
    """Write the labels that became final in ``[start, end)``.

    Returns:
        The number of labels.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    features = world.project.spec.features
    delay = label_delay(world.project)
    rows = world.requests(start - delay, end - delay)
    rows = rows.filter(pc.is_valid(rows[features.label.column]))
    if not rows.num_rows:
        return 0
    identity = log_of(world.project).request_id
    table = pa.table(
        {
            identity: request_ids(rows, features.entity, features.time),
            features.label.column: rows[features.label.column],
        }
    )
    write_log_file(world.label_folder, table, f"{end:%Y%m%dT%H%M%S}")
    return int(rows.num_rows)


def request_ids(rows: pa.Table, entity: str, moment: str) -> pa.ChunkedArray:
    """One identity for each entity and time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(
        rows[entity].cast(pa.string()), rows[moment].cast(pa.string()), "@"
    )


def _ask(
    world: World, rows: pa.Table, bundle: Bundle, version: int, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Answers ``(N, K)`` and the milliseconds that each row's batch took."""
    from resources.triton.client import TritonClient

    project = world.project
    batch = project.spec.deployment.max_batch_size
    answers: list[np.ndarray] = []
    latency: list[np.ndarray] = []
    with TritonClient(Target.of(project, settings).grpc_url) as client:
        for first in range(0, rows.num_rows, batch):
            part = rows.slice(first, batch)
            feeds = onnx_feeds(part, bundle.schema)
            began = time.perf_counter()
            found = client.infer(project.id.triton_model, version, feeds, bundle.schema.output_name)
            milliseconds = (time.perf_counter() - began) * 1000
            answers.append(found.reshape(part.num_rows, -1))
            latency.append(np.full(part.num_rows, milliseconds))
    return np.concatenate(answers), np.concatenate(latency)
