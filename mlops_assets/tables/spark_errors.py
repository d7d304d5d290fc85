"""Spark's errors as the engine's own: short, with the file, without a stack of Java."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from mlops_assets.errors import EnvironmentProblemError, MlopsError, StoreError
from mlops_assets.tables.executor_tasks import MARK
from mlops_assets.tables.shared_folder import unshared

_FILE = re.compile(r"file:/+(?:[^\s,;\"'\])]|\\ )+")
_ERROR = re.compile(r"\[([A-Z][A-Z0-9_]+(?:\.[A-Z0-9_]+)*)\] (.*)")
_FULL = ("No space left on device", "File too large", "Disk quota exceeded")
_NO_PROGRAM = re.compile(r'Cannot\s+run program "([^"]+)"')
_PYTHON_STARTER = "PythonWorkerFactory"
_LITERAL = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"")


@contextmanager
def translated(to_error: Callable[[str], MlopsError]) -> Iterator[None]:
    """Turn what Spark raises inside the block into the engine's errors.

    Args:
        to_error: Makes the error from Spark's text, all causes included.

    Raises:
        StoreError: The disk is full, or an executor says what is wrong with a file in S3.
        EnvironmentProblemError: An executor does not see a file that is here, or has no Python.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        text = full_text(error)
        if any(sign in text for sign in _FULL):
            raise StoreError(
                "the disk is full",
                found=summary(text),
                fix="free space, then run again; nothing was published",
            ) from error
        raise (
            _of_executor(text)
            or _without_python(text)
            or unshared(text, named_file(text))
            or to_error(text)
        ) from error


def _of_executor(text: str) -> StoreError | None:
    """The engine's own error that a task of an executor raised."""
    for tail in text.split(MARK)[1:]:
        try:
            parts, _ = json.JSONDecoder().raw_decode(tail)
        except ValueError:  # the place in the code, in a stack
            continue
        return StoreError(parts.pop("problem"), **parts)
    return None


def _without_python(text: str) -> EnvironmentProblemError | None:
    """The error about a Python that executors are told to start, and do not have."""
    match = _NO_PROGRAM.search(text)
    if match is None or not ("python" in match[1] or _PYTHON_STARTER in text):
        return None
    return EnvironmentProblemError(
        "an executor of the Spark cluster cannot start Python",
        where="an executor's machine",
        found=match[1],
        expected="Python of the run's minor version, with pyarrow, pandas and boto3",
        fix="set `spark.executors.python`, or PYSPARK_PYTHON where runs start, to its path on the "
        "executors' machines; for Spark Connect, set the server's PYSPARK_PYTHON",
    )


def full_text(error: Exception) -> str:
    """Everything that Spark says about an error, with the messages of its causes."""
    return f"{error}\n{getattr(error, '_stackTrace', None) or ''}"


def summary(text: str, *, hide_values: bool = False) -> str:
    """The most telling line of an error.

    Args:
        text: From :func:`full_text`.
        hide_values: Leave out quoted text, which may be data.
    """
    named = _ERROR.findall(text)
    causes = [line for line in text.splitlines() if line.startswith("Caused by: ")]
    if named:
        # The last named error is the innermost cause.
        line = f"{named[-1][1]} [{named[-1][0]}]"
    else:
        line = causes[-1].removeprefix("Caused by: ") if causes else text.strip().split("\n")[0]
    return _LITERAL.sub("'…'", line) if hide_values else line


def named_file(text: str) -> str | None:
    """The file that an error is about."""
    match = _FILE.search(text)
    return unquote(re.sub(r"^file:/+", "/", match[0])).rstrip(".:") if match else None
