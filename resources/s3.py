"""S3 and servers that speak its protocol: keys, listings and files, with every doubt an error."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mlops_assets.errors import AlreadyExistsError, EnvironmentProblemError, StoreError
from resources.s3_client import (
    FIXES,
    PASSING,
    BrokenAnswerError,
    MissingError,
    TakenError,
    attempted,
    endpoint,
)
from resources.s3_conditions import require_conditions
from resources.s3_transfer import Target, fetch, send

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""The form of a bucket's name. What has another may be a secret, and is not shown."""
_WRITER = "writer"


@dataclass(frozen=True)
class S3Object:
    """One line of a listing.

    Attributes:
        key: The whole key.
        bytes: Its size.
        etag: The server's identity of its content.
        changed: When it was written (UTC).
    """

    key: str
    bytes: int
    etag: str
    changed: datetime


@dataclass(frozen=True)
class S3Place:
    """A bucket and the prefix below which everything lies.

    Args:
        bucket: The bucket.
        prefix: Without slashes at its ends; empty for the whole bucket.
        encryption: Arguments of every upload, such as ``ServerSideEncryption``.
    """

    bucket: str
    prefix: str = ""
    encryption: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, uri: str, environ: Mapping[str, str] | None = None) -> S3Place:
        """Read ``s3://bucket/prefix``, and the encryption from ``MLOPS_S3_SSE`` and others.

        Raises:
            EnvironmentProblemError: There is no bucket in it.
        """
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not BUCKET.fullmatch(bucket):
            raise EnvironmentProblemError(
                "not an address in S3",
                found="s3://…, whose bucket has not the form of one",
                expected="s3://<bucket>/<prefix>, credentials in the environment",
            )
        return cls(bucket, prefix.strip("/"), _encryption(environ or os.environ))

    @property
    def uri(self) -> str:
        """The address."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def key(self, name: str) -> str:
        """The whole key of a name below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def name(self, key: str) -> str:
        """The name below the prefix of a whole key."""
        return key[len(self.prefix) + 1 :] if self.prefix else key

    def create(self, name: str, body: bytes) -> None:
        """Write a key, unless it is there.

        The request may be repeated, and the server may have carried it out without its answer
        arriving; the writer's mark on the object tells whether it was this call.

        Raises:
            AlreadyExistsError: The key is taken.
            StoreError: It could not be written, or the server would not have kept the condition.
        """
        require_conditions(
            endpoint(),
            self.bucket,
            create=lambda probe: self._create(probe, b"", uuid.uuid4().hex),
            delete=lambda probe: self.delete([probe]),
        )
        mark = uuid.uuid4().hex
        try:
            self._create(name, body, mark)
        except AlreadyExistsError:
            if self._writer(self.key(name)) != mark:
                raise

    def _create(self, name: str, body: bytes, mark: str) -> None:
        def put(client: Any) -> None:
            client.put_object(
                Bucket=self.bucket,
                Key=self.key(name),
                Body=body,
                IfNoneMatch="*",
                Metadata={_WRITER: mark},
                **self.encryption,
            )

        try:
            attempted(put, f"{self.uri}/{name}", "written")
        except TakenError:
            raise AlreadyExistsError("the name is taken", where=name) from None

    def read(self, name: str) -> bytes:
        """A key's whole content.

        Raises:
            StoreError: There is no such key, or it could not be read.
        """

        def get(client: Any) -> bytes:
            answer = client.get_object(Bucket=self.bucket, Key=self.key(name))
            body: bytes = answer["Body"].read()
            return body

        return attempted(get, f"{self.uri}/{name}", "read")

    def read_range(self, name: str, start: int, count: int) -> bytes:
        """Some bytes of a key.

        Raises:
            StoreError: There is no such key, it could not be read, or it ends before.
        """

        def get(client: Any) -> bytes:
            wanted = f"bytes={start}-{start + count - 1}"
            answer = client.get_object(Bucket=self.bucket, Key=self.key(name), Range=wanted)
            body: bytes = answer["Body"].read()
            if len(body) != count:
                raise BrokenAnswerError(f"{len(body):,} of {count:,} bytes")
            return body

        return attempted(get, f"{self.uri}/{name}", "read")

    def listing(self, prefix: str) -> Iterator[S3Object]:
        """Every object below a prefix, in the order of the keys.

        Raises:
            StoreError: The listing is not whole; a server in trouble is never taken for an empty
                folder.
        """
        where = f"{self.uri}/{prefix}"
        token: dict[str, str] = {}
        while True:
            request = {"Bucket": self.bucket, "Prefix": self.key(prefix), **token}
            page = attempted(partial(_page, request), where, "listed")
            for item in page.get("Contents", ()):
                yield S3Object(item["Key"], item["Size"], item["ETag"], item["LastModified"])
            if not page["IsTruncated"]:
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def page(self, prefix: str, after: str) -> tuple[list[str], bool]:
        """Names below a prefix, without it, that come after one of them; at most 1,000.

        Returns:
            The names in order, and whether there are more.

        Raises:
            StoreError: The listing is not whole.
        """
        start = self.key(prefix)
        request = {"Bucket": self.bucket, "Prefix": start}
        request |= {"StartAfter": f"{start}{after}"} if after else {}
        page = attempted(partial(_page, request), f"{self.uri}/{prefix}", "listed")
        names = [item["Key"].removeprefix(start) for item in page.get("Contents", ())]
        return names, page["IsTruncated"]

    def head(self, name: str) -> S3Object | None:
        """What a listing would say of one key; None when there is none."""

        def head(client: Any) -> S3Object:
            item = client.head_object(Bucket=self.bucket, Key=self.key(name))
            return S3Object(
                self.key(name), item["ContentLength"], item["ETag"], item["LastModified"]
            )

        try:
            return attempted(head, f"{self.uri}/{name}", "read")
        except MissingError:
            return None

    def upload(self, path: Path, name: str) -> None:
        """Write a file, in parts when it is large.

        Raises:
            StoreError: It could not be written, or has another size there.
        """
        size = path.stat().st_size
        send(path, self._target(name), self.encryption)
        there = self.head(name)
        if there is None or there.bytes != size:
            raise StoreError(
                "an upload did not arrive whole",
                where=f"{self.uri}/{name}",
                found="nothing" if there is None else f"{there.bytes:,} bytes",
                expected=f"{size:,} bytes",
                fix="run again; nothing was published",
            )

    def download(self, name: str, path: Path) -> None:
        """Read a key into a new file.

        Raises:
            StoreError: There is no such key, or it could not be read.
        """
        fetch(self._target(name), path)

    def _target(self, name: str) -> Target:
        return Target(self.bucket, self.key(name), f"{self.uri}/{name}")

    def delete(self, names: list[str]) -> None:
        """Remove keys; nothing happens to those that are gone.

        Raises:
            StoreError: The server refused.
        """
        for start in range(0, len(names), 1000):
            keys = [{"Key": self.key(name)} for name in names[start : start + 1000]]
            request = {"Bucket": self.bucket, "Delete": {"Objects": keys, "Quiet": True}}
            answer = attempted(partial(_delete, request), self.uri, "deleted", is_large=True)
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise StoreError(
                    "S3 refused: a key could not be deleted",
                    where=f"s3://{self.bucket}/{first.get('Key')}",
                    found=str(first.get("Code")),
                    fix=FIXES.get(first.get("Code"), FIXES["AccessDenied"]),
                )

    def _writer(self, key: str) -> str | None:
        found = attempted(
            lambda client: client.head_object(Bucket=self.bucket, Key=key), self.uri, "read"
        )
        writer: str | None = found.get("Metadata", {}).get(_WRITER)
        return writer


def _delete(request: dict[str, Any], client: Any) -> Any:
    """One request's answer; a server in trouble says so for single keys."""
    answer = client.delete_objects(**request)
    for error in answer.get("Errors", ()):
        if error.get("Code") in PASSING:
            raise BrokenAnswerError(f"{error['Code']} for {error.get('Key')}")
    return answer


def _page(request: dict[str, str], client: Any) -> dict[str, Any]:
    """One page of a listing, checked for being one."""
    page: dict[str, Any] = client.list_objects_v2(**request)
    contents = page.get("Contents", [])
    if "IsTruncated" not in page:
        raise BrokenAnswerError("a listing without an end")
    if page["IsTruncated"] and not page.get("NextContinuationToken"):
        raise BrokenAnswerError("a listing that breaks off")
    if page["IsTruncated"] and not contents:
        raise BrokenAnswerError("a listing that goes on after nothing")
    if page.get("KeyCount", len(contents)) != len(contents):
        raise BrokenAnswerError(f"{len(contents)} of {page['KeyCount']} lines of a listing")
    return page


def _encryption(environ: Mapping[str, str]) -> dict[str, str]:
    kind = environ.get("MLOPS_S3_SSE", "")
    if not kind:
        return {}
    if kind not in {"AES256", "aws:kms", "aws:kms:dsse"}:
        raise EnvironmentProblemError(
            "unknown server-side encryption",
            where="MLOPS_S3_SSE",
            found=kind,
            expected="AES256, aws:kms or aws:kms:dsse",
        )
    key = environ.get("MLOPS_S3_SSE_KMS_KEY_ID", "")
    return {"ServerSideEncryption": kind} | ({"SSEKMSKeyId": key} if key else {})
