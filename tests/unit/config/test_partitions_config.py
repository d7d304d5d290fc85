"""``partitions:`` in the YAML: windows, addresses, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from mlops_assets.assets.partitions import time_partitions
from mlops_assets.config.kafka import KafkaSource
from mlops_assets.config.partitions import TimePartitions
from mlops_assets.config.sources import FilesSource
from mlops_assets.config.sql import SqlSource


def rule(every: str, start: Any = "2024-01-01", **more: Any) -> TimePartitions:
    return TimePartitions.model_validate({"every": every, "start": start, **more})


@pytest.mark.parametrize(
    ("every", "days", "keys"),
    [
        ("hour", 0.2, ["2024-01-01-00:00", "2024-01-01-01:00", "2024-01-01-02:00"]),
        ("day", 60.5, ["2024-01-01", "2024-01-02", "2024-01-03"]),
        ("week", 40, ["2024-01-01", "2024-01-08", "2024-01-15"]),
        ("month", 400, ["2024-01-01", "2024-02-01", "2024-03-01"]),
    ],
)
def test_windows_are_those_of_dagster(every: str, days: float, keys: list[str]) -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=days)
    found = rule(every).due(now)
    assert [window.key for window in found[:3]] == keys
    partitions = time_partitions(rule(every))
    assert [window.key for window in found] == partitions.get_partition_keys(current_time=now)
    for window in found:
        theirs = partitions.time_window_for_partition_key(window.key)
        assert (window.start, window.end) == (theirs.start, theirs.end)
        assert rule(every).window(window.key) == window


def test_a_partition_is_due_some_time_after_its_end() -> None:
    end = datetime(2024, 1, 2, tzinfo=UTC)
    late = rule("day", after="90m")
    assert late.due(end + timedelta(minutes=89)) == []
    assert len(late.due(end + timedelta(minutes=90))) == 1


@pytest.mark.parametrize("key", ["2023-12-31", "2024-01-01-00:00", "nonsense", "2024-02-30"])
def test_keys_of_no_partition(key: str) -> None:
    with pytest.raises(ValueError, match=r"no partition|does not match|unconverted|out of range"):
        rule("day").window(key)


@pytest.mark.parametrize(
    ("every", "start", "words"),
    [
        ("day", "2024-01-01T05:00:00", "the beginning of a day, such as 2024-01-01"),
        ("week", "2024-01-02", "the beginning of a week, such as 2024-01-01"),
        ("month", "2024-01-31", "the beginning of a month, such as 2024-01-01"),
        ("hour", "1990-01-01", "at most 100,000 partitions"),
        ("minute", "2024-01-01", "'hour', 'day', 'week' or 'month'"),
        ("hour", "2024-01-01T05:30:00", "the beginning of an hour"),
        ("month", "2024-01-15", "found 2024-01-15, expected"),
        ("day", "2024-01-01T00:00:00+02:00", r"found 2024-01-01T00:00:00\+02:00, expected"),
        ("day", 20240101, "found 20240101, expected a date such as 2024-01-01"),
        ("day", 1704067200, "found 1704067200, expected a date such as"),
        ("day", 2024, "found 2024, expected a date such as"),
        ("day", "20240101", "found '20240101', expected a date such as"),
        ("day", "01.01.2024", "found '01.01.2024', expected a date such as"),
        ("day", "0001-01-01T00:00:00+05:00", "a date from 1900 to 2199"),
        ("week", "0001-01-03", "found 0001-01-03, expected a date from 1900 to 2199"),
        ("day", "9999-12-31", "a date from 1900 to 2199"),
    ],
)
def test_starts_that_are_none(every: str, start: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        rule(every, start)


def test_the_time_that_data_arrive_in_has_an_end() -> None:
    with pytest.raises(ValidationError, match="at most 3660d"):
        rule("day", after="999999w")
    assert rule("day", after="3660d").due(datetime(2024, 6, 1, tzinfo=UTC)) == []


def files(uri: str, every: str) -> FilesSource:
    partitions = {"every": every, "start": "2024-01-01"}
    return FilesSource.model_validate({"type": "files", "uri": uri, "partitions": partitions})


@pytest.mark.parametrize(
    ("uri", "every"),
    [
        ("clicks/%Y/%m/%d/%H", "hour"),
        ("s3://lake/clicks/date=%Y-%m-%d/*.parquet", "day"),
        ("clicks/%Y-%j", "day"),
        ("clicks/%G-W%V", "week"),
        ("clicks/%Y%m.csv", "month"),
    ],
)
def test_addresses_that_name_each_partition(uri: str, every: str) -> None:
    spec = files(uri, every)
    assert spec.slices is not None
    assert spec.slices.every == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("uri", "every", "words"),
    [
        ("clicks", "day", "the same address for different days"),
        ("clicks/%Y-%m-%d", "hour", "the same address for different hours"),
        ("clicks/%Y-%m-%d", "hour", "an hour's beginning, such as %Y/%m/%d/%H"),
        ("clicks/%Y", "month", "a month's beginning, such as %Y/%m"),
        ("clicks/%m-%d", "day", "the same address for different days"),
        ("clicks/%Y", "month", "the same address for different months"),
        ("clicks/%V", "week", "the same address for different weeks"),
        ("clicks/%Y-%m-%d-%s", "day", "%s, which is none of"),
        ("clicks/%Y-%m-%d%", "day", "%, which is none of"),
    ],
)
def test_addresses_that_do_not(uri: str, every: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        files(uri, every)


def test_sql_takes_partitions_or_slices_and_needs_a_time() -> None:
    written: dict[str, Any] = {
        "type": "sql",
        "uri_env": "SHOP_DB",
        "table": "public.orders",
        "partitions": {"every": "day", "start": "2024-01-01"},
    }
    with pytest.raises(ValidationError, match="the column with each row's time"):
        SqlSource.model_validate(written)
    assert SqlSource.model_validate({**written, "time_column": "at"}).slices is not None
    with pytest.raises(ValidationError, match="one of `partitions` and `incremental`"):
        SqlSource.model_validate({**written, "time_column": "at", "incremental": {"column": "id"}})


def test_kafka_takes_offsets_only() -> None:
    written = {
        "type": "kafka",
        "bootstrap_servers": "localhost:9092",
        "topic": "t",
        "columns": {"id": "bigint"},
    }
    with pytest.raises(ValidationError, match="offsets"):
        KafkaSource.model_validate({**written, "partitions": {"offsets": 0}})
    spec = KafkaSource.model_validate({**written, "partitions": {"offsets": 10}})
    assert spec.partitions is not None
