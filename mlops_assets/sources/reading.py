"""What Spark says while it reads a source, as an error that names the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlops_assets.errors import MlopsError, SourceError, first_few
from mlops_assets.tables.spark_errors import named_file, summary, translated

NANOSECONDS_FIX = (
    "write the times in microseconds, which Spark can read (in pandas and pyarrow: "
    "coerce_timestamps='us'); nothing was published"
)


@contextmanager
def reading(where: str, files: Sequence[Path] = ()) -> Iterator[None]:
    """Turn Spark's errors inside the block into a SourceError.

    Args:
        where: The source, for messages.
        files: What is read, for errors in which Spark names no file.

    Raises:
        SourceError: A file is corrupt or does not fit the columns.
        StoreError: The disk is full.
    """

    def to_error(text: str) -> MlopsError:
        file = named_file(text)
        return SourceError(
            "the source cannot be read",
            where=where,
            found=f"{Path(file).name if file else _any_of(files)}: "
            f"{summary(text, hide_values=True)}",
            expected="files that are whole and fit the columns",
            fix=_fix(text, file),
        )

    with translated(to_error):
        yield


def _fix(text: str, file: str | None) -> str:
    if "TIMESTAMP(NANOS" in text:
        return NANOSECONDS_FIX
    return f"look at {file}; nothing was published" if file else "nothing was published"


def _any_of(files: Sequence[Path]) -> str:
    prefix = "one of " if len(files) > 1 else ""
    return prefix + (first_few([file.name for file in files]) or "a file")
