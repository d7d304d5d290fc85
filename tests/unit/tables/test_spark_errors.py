"""Spark's texts, as it writes them, and what is left of them."""

from __future__ import annotations

from mlops_assets.tables.spark_errors import named_file, summary

CORRUPT = """An error occurred while calling o91.parquet.
: org.apache.spark.SparkException: Job aborted due to stage failure: [FAILED_READ_FILE.NO_HINT] \
Encountered error while reading file file:///data/a%20b/part.parquet. SQLSTATE: KD001
\tat org.apache.spark.sql.Foo.bar(Foo.scala:1)
Caused by: java.io.IOException: Could not read page
"""


def test_the_file_is_named() -> None:
    assert named_file(CORRUPT) == "/data/a b/part.parquet"
    assert named_file("nothing about files") is None


def test_one_line_is_left() -> None:
    assert "Foo.scala" not in summary(CORRUPT)
    assert "[FAILED_READ_FILE.NO_HINT]" in summary(CORRUPT)
    assert summary("first\nCaused by: A\nCaused by: B") == "B"
    assert summary("first\nsecond") == "first"


def test_values_can_be_left_out() -> None:
    text = "[CAST_INVALID_INPUT] The value 'jane@x.org' of the type \"STRING\" cannot be cast"
    assert "jane" in summary(text)
    assert "jane" not in summary(text, hide_values=True)
