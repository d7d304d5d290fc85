"""Spark's texts, as it writes them, and what is left of them."""

from __future__ import annotations

import pytest
from py4j.protocol import Py4JError

from mlops_assets.errors import EnvironmentProblemError, MlopsError, SourceError
from mlops_assets.tables.spark_errors import named_file, summary, translated

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


NO_PYTHON = """Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times, most recent \
failure: Lost task 0.3 in stage 1.0 (TID 3) (10.0.0.3 executor 1): java.io.IOException: Cannot \
run program "/home/ann/.venv/bin/python": error=2, No such file or directory
\tat java.base/java.lang.ProcessBuilder.start(ProcessBuilder.java:1143)
\tat org.apache.spark.api.python.PythonWorkerFactory.startDaemon(PythonWorkerFactory.scala:1)
"""


def test_a_python_that_executors_lack_is_named_with_what_to_set() -> None:
    def to_error(text: str) -> MlopsError:
        return SourceError("the source cannot be read", found=summary(text))

    with pytest.raises(EnvironmentProblemError) as raised, translated(to_error):
        raise Py4JError(NO_PYTHON)
    assert raised.value.found == "/home/ann/.venv/bin/python"
    assert "error=2" not in str(raised.value)
    assert "spark.executors.python" in str(raised.value)
