"""A real Spark session and small frames whose counts can be done by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from resources.spark import spark_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = (
    "id int, carrier string, origin string, delay double, distance int, air_time int, "
    "email string, constant int, empty double, day date, at timestamp"
)
ROWS = [
    # id, carrier, origin, delay, distance, air_time, email
    (1, "AA", "JFK", 0.0, 100, 20, "ann@example.org"),
    (2, "AA", "JFK", 10.0, 200, 30, "bob@example.org"),
    (3, "UA", "EWR", None, 300, 40, "eve-at-example"),
    (4, "UA", "EWR", 40.0, 400, 50, "dan@example.org"),
    (5, "UA", "LGA", 50.0, 500, 60, "fay@example.org"),
    (6, "B6", "LGA", None, 600, 70, None),
    (7, "B6", "LGA", 70.0, 700, 80, "gus@example.org"),
    (8, "B6", "SFO", -30.0, 800, 90, "hal@example.org"),
    (8, None, "SFO", 80.0, -1, 100, "ida@example.org"),
    (10, "DL", "JFK", 20.0, 0, 0, "joe@example.org"),
]


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    yield spark_session(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def frame(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DataFrame:
    """Ten rows, in Parquet, as the engine validates them."""
    rows = [
        (*row, 5, None, datetime(2013, 1, n).date(), datetime(2013, 1, n, 12, tzinfo=UTC))
        for n, row in enumerate(ROWS, start=1)
    ]
    path = str(tmp_path_factory.mktemp("data") / "rows")
    spark.createDataFrame(rows, SCHEMA).repartition(2).write.parquet(path)
    return spark.read.parquet(path)
