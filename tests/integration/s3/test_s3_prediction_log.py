"""Predictions that a client logs to S3 are found by the monitoring stream, each once."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mlops_assets.errors import StoreError
from mlops_assets.keys import ProjectId
from mlops_assets.monitoring.stream_files import find_stream_files
from mlops_assets.serving.prediction_log import PredictionLogger
from mlops_assets.sources.base import SourceContext
from resources import s3_client
from tests.integration.s3 import faulty

pytestmark = pytest.mark.s3


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    return SourceContext(ProjectId("team", "mine"), tmp_path, tmp_path / "copies", "inference_log")


def _logged(uri: str, context: SourceContext) -> list[float]:
    files = find_stream_files(uri, "parquet", context)
    tables = [pq.read_table(file.fetch(context.workspace)) for file in files]
    return [value for table in tables for value in table["temp"].to_pylist()]


def test_the_stream_finds_what_was_logged(
    s3_uri: str, context: SourceContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with PredictionLogger(f"{s3_uri}/live/", rows_per_file=3) as log:
        for number in range(7):
            log.add(inputs={"temp": float(number)}, prediction=0.25, model_version=7)
    assert len(find_stream_files(f"{s3_uri}/live", "parquet", context)) == 3
    assert _logged(f"{s3_uri}/live", context) == [0, 1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "s3:").exists()


@pytest.mark.parametrize("fault", [faulty.server_error, faulty.done_but_lost])
def test_rows_wait_while_s3_is_away_and_are_there_once(
    s3_uri: str,
    s3_server_proxy: faulty.Proxy,
    context: SourceContext,
    monkeypatch: pytest.MonkeyPatch,
    fault: faulty.Fault,
) -> None:
    log = PredictionLogger(f"{s3_uri}/live", rows_per_file=2)
    log.add(inputs={"temp": 0.0}, prediction=0.1, model_version=1)
    log.add(inputs={"temp": 1.0}, prediction=0.1, model_version=1)
    monkeypatch.setattr(s3_client, "DEADLINE_SECONDS", s3_client.SMALL_SECONDS)
    s3_server_proxy.plan(fault, method="PUT", part=".parquet")
    log.add(inputs={"temp": 2.0}, prediction=0.1, model_version=1)
    with pytest.raises(StoreError, match="S3"):
        log.add(inputs={"temp": 3.0}, prediction=0.1, model_version=1)
    log.add(inputs={"temp": 4.0}, prediction=0.1, model_version=1)
    log.flush()
    assert _logged(f"{s3_uri}/live", context) == [0, 1, 2, 3, 4]
