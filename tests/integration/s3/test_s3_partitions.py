"""Partitions by the day of a prefix in S3, into a store in S3."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import NoFilesError
from mlops_assets.keys import ProjectId
from mlops_assets.sources.ingest import ingest
from mlops_assets.sources.partitioned import take_partitions
from resources.s3 import S3Place
from resources.s3_client import s3_client
from resources.s3_store import S3Store
from resources.spark import spark_session

pytestmark = [pytest.mark.spark, pytest.mark.s3]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return spark_session(home=tmp_path_factory.mktemp("home"))


def put(uri: str, values: list[int]) -> None:
    body = BytesIO()
    pq.write_table(pa.table({"id": values}), body)
    place = S3Place.parse(uri)
    s3_client().put_object(Bucket=place.bucket, Key=place.prefix, Body=body.getvalue())


def test_days_of_a_prefix(s3_uri: str, store: S3Store, tmp_path: Path, spark: Any) -> None:
    written = {
        "description": "test",
        "task": "binary",
        "sources": {
            "shop": {
                "type": "files",
                "uri": f"{s3_uri}-lake/day=%Y-%m-%d",
                "partitions": {"every": "day", "start": "2024-03-01"},
            }
        },
        "features": {
            "query": "features.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "label"},
            "inputs": {"numeric": ["x"]},
        },
    }
    spec = ProjectSpec.model_validate(written)
    project = Project(ProjectId("team", "shop"), spec, tmp_path, written)
    put(f"{s3_uri}-lake/day=2024-03-01/a.parquet", [1, 2])
    put(f"{s3_uri}-lake/day=2024-03-02/a.parquet", [3])
    keys = ["2024-03-01", "2024-03-02", "2024-03-03"]
    first = list(take_partitions(project, "shop", keys, store, lambda: spark))
    assert [part.rows for part in first] == [2, 1, 0]
    assert isinstance(first[2].problem, NoFilesError)
    put(f"{s3_uri}-lake/day=2024-03-02/b.parquet", [4])
    again = list(take_partitions(project, "shop", keys[:2], store, lambda: spark))
    assert [(part.is_new, part.revision) for part in again] == [(False, 1), (True, 2)]
    result = ingest(project, "shop", store=store, spark_factory=lambda: spark, check=lambda *_: {})
    ids = pq.ParquetDataset(store.files(result.manifest)).read(["id"])["id"].to_pylist()
    assert sorted(ids) == [1, 2, 3, 4]
