"""Files to and from S3: in one request when they are small, in parts when they are not.

Each part is a request with a deadline of its own, so that a large file may take its time and a
server that hangs does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_assets.errors import StoreError
from resources.s3_client import AwayError, BrokenAnswerError, TakenError, attempted

PART_BYTES = 16 * 1024 * 1024
MOST_PARTS = 10_000
"""S3 takes no more parts for one object."""
_PARALLEL = 4
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Target:
    """One key, and its address for messages."""

    bucket: str
    key: str
    where: str

    @property
    def named(self) -> dict[str, str]:
        """The key as boto3's arguments."""
        return {"Bucket": self.bucket, "Key": self.key}


@dataclass(frozen=True)
class _Part:
    number: int
    start: int
    bytes: int


def send(path: Path, target: Target, encryption: Mapping[str, str]) -> None:
    """Write a file to a key.

    Raises:
        StoreError: It could not be written.
    """
    size = path.stat().st_size
    if size > PART_BYTES:
        _send_parts(path, size, target, encryption)
        return

    def put(client: Any) -> None:
        with path.open("rb") as body:
            client.put_object(**target.named, Body=body, **encryption)

    attempted(put, target.where, "written", is_large=True)


def fetch(target: Target, path: Path) -> None:
    """Read a key into a file.

    Raises:
        MissingError: There is no such key.
        StoreError: It could not be read, or another object took its place meanwhile.
    """
    size, etag = _fetch_first(target, path)
    starts = range(PART_BYTES, size, PART_BYTES)
    if starts:
        with ThreadPoolExecutor(_PARALLEL) as pool:
            list(pool.map(lambda start: _fetch_part(target, path, start, size, etag), starts))


def _send_parts(path: Path, size: int, target: Target, encryption: Mapping[str, str]) -> None:
    step = max(PART_BYTES, -(-size // MOST_PARTS))
    parts = [_Part(n, start, step) for n, start in enumerate(range(0, size, step), start=1)]
    with _upload(target, encryption) as upload, ThreadPoolExecutor(_PARALLEL) as pool:
        sent = list(pool.map(lambda part: _send_part(path, part, target, upload), parts))
        _complete(target, upload, sent)


@contextmanager
def _upload(target: Target, encryption: Mapping[str, str]) -> Iterator[str]:
    """An upload in parts for a block; when the block fails, its parts are thrown away."""
    made = attempted(
        lambda client: client.create_multipart_upload(**target.named, **encryption),
        target.where,
        "written",
    )
    upload = str(made["UploadId"])
    try:
        yield upload
    except AwayError:
        raise  # to ask once more would be to wait once more; `mlops clean` throws the parts away
    except BaseException:
        with suppress(StoreError):
            abort(target, upload)
        raise


def abort(target: Target, upload: str) -> None:
    """Throw away an upload's parts; nothing happens when they are gone.

    Raises:
        StoreError: The server refused.
    """

    def throw_away(client: Any) -> None:
        with suppress(client.exceptions.NoSuchUpload):
            client.abort_multipart_upload(**target.named, UploadId=upload)

    attempted(throw_away, target.where, "cleaned")


def _send_part(path: Path, part: _Part, target: Target, upload: str) -> dict[str, Any]:
    from s3transfer.utils import ReadFileChunk

    number = {"UploadId": upload, "PartNumber": part.number}

    def put(client: Any) -> str:
        with ReadFileChunk.from_filename(str(path), part.start, part.bytes) as body:
            return str(client.upload_part(**target.named, **number, Body=body)["ETag"])

    etag = attempted(put, target.where, "written", is_large=True)
    return {"PartNumber": part.number, "ETag": etag}


def _complete(target: Target, upload: str, parts: list[dict[str, Any]]) -> None:
    def complete(client: Any) -> None:
        # Gone: an earlier try was carried out, and its answer lost.
        with suppress(client.exceptions.NoSuchUpload):
            client.complete_multipart_upload(
                **target.named, UploadId=upload, MultipartUpload={"Parts": parts}
            )

    attempted(complete, target.where, "written", is_large=True)


def _fetch_first(target: Target, path: Path) -> tuple[int, str]:
    """Read the first part; the answer says the whole object's size and identity.

    A server that does not know ranges sends all of it, and the size is told to be 0.
    """

    def get(client: Any) -> tuple[int, str]:
        with path.open("wb") as file:
            try:
                answer = client.get_object(**target.named, Range=f"bytes=0-{PART_BYTES - 1}")
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] not in {"InvalidRange", "416"}:
                    raise
                answer = client.get_object(**target.named)  # no byte is in an empty object
            _copied(answer, file)
        _, _, total = answer.get("ContentRange", "").rpartition("/")
        return int(total) if total.isdigit() else 0, str(answer["ETag"])  # 0: that was all of it

    return attempted(get, target.where, "read", is_large=True)


def _fetch_part(target: Target, path: Path, start: int, size: int, etag: str) -> None:
    end = min(start + PART_BYTES, size)

    def get(client: Any) -> None:
        with path.open("r+b") as file:
            file.seek(start)
            answer = client.get_object(
                **target.named, Range=f"bytes={start}-{end - 1}", IfMatch=etag
            )
            count = _copied(answer, file)
        if count != end - start:
            raise BrokenAnswerError(f"{count:,} of {end - start:,} bytes")

    try:
        attempted(get, target.where, "read", is_large=True)
    except TakenError:
        raise StoreError(
            "an object changed while it was read",
            where=target.where,
            expected="the object whose first part was read",
            fix="run again; nothing was published",
        ) from None


def _copied(answer: dict[str, Any], file: Any) -> int:
    """Copy an answer's body into a file, and say how many bytes it had."""
    count = 0
    for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
        count += file.write(chunk)
    if count != answer["ContentLength"]:
        raise BrokenAnswerError(f"{count:,} of {answer['ContentLength']:,} bytes")
    return count
