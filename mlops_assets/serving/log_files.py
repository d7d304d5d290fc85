"""Files of logged predictions, in a folder or in S3: each complete, or not there at all."""

from __future__ import annotations

import io
import os
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.errors import AlreadyExistsError, EnvironmentProblemError

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.s3 import S3Place

Writer = Callable[["pa.Table", str], object]
"""Writes rows as a file of that name; to write them again under it changes nothing."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def log_writer(folder: str | Path) -> Writer:
    """What writes files to a folder, or to an ``s3://`` address.

    Raises:
        EnvironmentProblemError: It is an address of another kind.
    """
    text = str(folder)
    if isinstance(folder, str) and text.startswith("s3://"):
        from resources.s3 import S3Place

        return partial(_write_object, S3Place.parse(text))
    text = text.removeprefix("file://")
    if scheme := _SCHEME.match(text):
        raise EnvironmentProblemError(
            "predictions cannot be logged to such a place",
            found=f"{scheme[1]}:{'//…' if isinstance(folder, str) else '/… as a Path'}",
            expected="a folder, or s3://<bucket>/<prefix> as a string",
            fix="give PredictionLogger the `uri` of `monitoring.inference_log`",
        )
    return partial(write_log_file, Path(text))


def new_name() -> str:
    """A file name without its ending that no other has, in the order of time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def write_log_file(folder: Path, table: pa.Table, name: str | None = None) -> Path:
    """Write rows as one Parquet file that appears with its whole content.

    Args:
        folder: Where it goes; made when it is not there.
        table: The rows.
        name: File name without its ending; a new one in the order of time by default.
    """
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    stem = name or new_name()
    draft = folder / f".{stem}.parquet"
    try:
        with draft.open("wb") as file:
            pyarrow.parquet.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        return draft.rename(folder / f"{stem}.parquet")
    finally:
        draft.unlink(missing_ok=True)


def _write_object(place: S3Place, table: pa.Table, name: str) -> None:
    """Write rows as one object, which S3 shows when it is whole."""
    import pyarrow.parquet

    body = io.BytesIO()
    pyarrow.parquet.write_table(table, body)
    with suppress(AlreadyExistsError):  # an earlier try arrived, and its answer did not
        place.create(f"{name}.parquet", body.getvalue())
