"""S3 and servers that speak its protocol: keys, listings and files, with every doubt an error.

Credentials, region and endpoint come from where boto3 always finds them: ``AWS_ACCESS_KEY_ID``,
``AWS_PROFILE``, an instance's role, ``AWS_REGION``, ``AWS_ENDPOINT_URL_S3``.
"""

from __future__ import annotations

import os
import random
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from mlops_assets.errors import AlreadyExistsError, EnvironmentProblemError, StoreError
from resources.s3_conditions import require_conditions

T = TypeVar("T")

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""The form of a bucket's name. What has another may be a secret, and is not shown."""
ATTEMPTS = 5
"""How often an operation is tried whose answer broke off; boto3 itself repeats refused requests."""
_WRITER = "writer"
_GONE = {"NoSuchKey", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "412"}
_BUSY = {"ConditionalRequestConflict", "409"}
_FIXES = {
    "NoSuchBucket": "create the bucket, or correct the address",
    "403": "correct the credentials in the environment, or what they may do",
    "AccessDenied": "allow s3:GetObject, s3:PutObject, s3:ListBucket and s3:DeleteObject on it",
    "InvalidAccessKeyId": "correct the credentials in the environment",
    "SignatureDoesNotMatch": "correct the credentials in the environment",
    "ExpiredToken": "renew the credentials",
}


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
        def put() -> None:
            s3_client().put_object(
                Bucket=self.bucket,
                Key=self.key(name),
                Body=body,
                IfNoneMatch="*",
                Metadata={_WRITER: mark},
                **self.encryption,
            )

        try:
            _attempted(put, f"{self.uri}/{name}", "written")
        except _TakenError:
            raise AlreadyExistsError("the name is taken", where=name) from None

    def read(self, name: str) -> bytes:
        """A key's whole content.

        Raises:
            StoreError: There is no such key, or it could not be read.
        """

        def get() -> bytes:
            answer = s3_client().get_object(Bucket=self.bucket, Key=self.key(name))
            body: bytes = answer["Body"].read()
            return body

        return _attempted(get, f"{self.uri}/{name}", "read")

    def read_range(self, name: str, start: int, count: int) -> bytes:
        """Some bytes of a key.

        Raises:
            StoreError: There is no such key, it could not be read, or it ends before.
        """

        def get() -> bytes:
            wanted = f"bytes={start}-{start + count - 1}"
            answer = s3_client().get_object(Bucket=self.bucket, Key=self.key(name), Range=wanted)
            body: bytes = answer["Body"].read()
            if len(body) != count:
                raise _BrokenAnswerError(f"{len(body):,} of {count:,} bytes")
            return body

        return _attempted(get, f"{self.uri}/{name}", "read")

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
            page = _attempted(partial(_page, request), where, "listed")
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
        page = _attempted(partial(_page, request), f"{self.uri}/{prefix}", "listed")
        names = [item["Key"].removeprefix(start) for item in page.get("Contents", ())]
        return names, page["IsTruncated"]

    def head(self, name: str) -> S3Object | None:
        """What a listing would say of one key; None when there is none."""

        def head() -> S3Object:
            item = s3_client().head_object(Bucket=self.bucket, Key=self.key(name))
            return S3Object(
                self.key(name), item["ContentLength"], item["ETag"], item["LastModified"]
            )

        try:
            return _attempted(head, f"{self.uri}/{name}", "read")
        except _MissingError:
            return None

    def upload(self, path: Path, name: str) -> None:
        """Write a file, in parts when it is large.

        Raises:
            StoreError: It could not be written, or has another size there.
        """
        size = path.stat().st_size

        def put() -> None:
            s3_client().upload_file(
                str(path), self.bucket, self.key(name), ExtraArgs=dict(self.encryption)
            )

        _attempted(put, f"{self.uri}/{name}", "written")
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

        def get() -> None:
            s3_client().download_file(self.bucket, self.key(name), str(path))

        _attempted(get, f"{self.uri}/{name}", "read")

    def delete(self, names: list[str]) -> None:
        """Remove keys; nothing happens to those that are gone.

        Raises:
            StoreError: The server refused.
        """
        for start in range(0, len(names), 1000):
            keys = [{"Key": self.key(name)} for name in names[start : start + 1000]]
            request = {"Bucket": self.bucket, "Delete": {"Objects": keys, "Quiet": True}}
            answer = _attempted(partial(s3_client().delete_objects, **request), self.uri, "deleted")
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise StoreError(
                    "S3 refused: a key could not be deleted",
                    where=f"s3://{self.bucket}/{first.get('Key')}",
                    found=str(first.get("Code")),
                    fix=_FIXES["AccessDenied"],
                )

    def _writer(self, key: str) -> str | None:
        found = _attempted(
            lambda: s3_client().head_object(Bucket=self.bucket, Key=key), self.uri, "read"
        )
        writer: str | None = found.get("Metadata", {}).get(_WRITER)
        return writer


def s3_client() -> Any:
    """The process's one client of S3, made when it is first used.

    A changed ``AWS_ENDPOINT_URL_S3`` or access key makes another one.

    Raises:
        EnvironmentProblemError: The settings in the environment do not fit together.
    """
    return _client(
        os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        os.environ.get("AWS_ACCESS_KEY_ID"),
        os.environ.get("AWS_PROFILE"),
        os.getpid(),
    )


def endpoint() -> str:
    """Address of the server that the client asks."""
    return str(s3_client().meta.endpoint_url)


@cache
def _client(endpoint: str | None, _key: str | None, _profile: str | None, _pid: int) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 6},
        max_pool_connections=32,
        # Other servers than Amazon's do not all know the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if endpoint else {},
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        session = boto3.session.Session(region_name=region)
        fallback = "us-east-1" if endpoint and session.region_name is None else None
        return session.client("s3", endpoint_url=endpoint, region_name=fallback, config=config)
    except (BotoCoreError, ValueError) as error:
        raise EnvironmentProblemError(
            "S3 cannot be used with these settings",
            found=_said(error),
            fix="look at AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL_S3",
        ) from error


class _TakenError(StoreError):
    """A key was there already."""


class _MissingError(StoreError):
    """A key is not there."""


class _BrokenAnswerError(Exception):
    """The server's answer is not whole."""


def _page(request: dict[str, str]) -> dict[str, Any]:
    """One page of a listing, checked for being one."""
    page: dict[str, Any] = s3_client().list_objects_v2(**request)
    contents = page.get("Contents", [])
    if "IsTruncated" not in page:
        raise _BrokenAnswerError("a listing without an end")
    if page["IsTruncated"] and not page.get("NextContinuationToken"):
        raise _BrokenAnswerError("a listing that breaks off")
    if page["IsTruncated"] and not contents:
        raise _BrokenAnswerError("a listing that goes on after nothing")
    if page.get("KeyCount", len(contents)) != len(contents):
        raise _BrokenAnswerError(f"{len(contents)} of {page['KeyCount']} lines of a listing")
    return page


def _attempted(operation: Callable[[], T], where: str, verb: str) -> T:
    """The operation's answer; broken answers are asked for again, refusals are errors."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.parsers import ResponseParserError
    from s3transfer.exceptions import S3DownloadFailedError

    broken = (
        *(_BrokenAnswerError, HTTPClientError, ResponseParserError),
        *(Boto3Error, S3DownloadFailedError),
    )
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return operation()
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code not in _BUSY or attempt == ATTEMPTS:
                raise _refusal(error, code, where, verb) from None
        except broken as error:
            inner = error.__context__
            if isinstance(error, Boto3Error) and isinstance(inner, ClientError):
                code = str(inner.response.get("Error", {}).get("Code", ""))
                raise _refusal(inner, code, where, verb) from None
            if attempt == ATTEMPTS:
                raise _away(error, where, verb) from None
        except BotoCoreError as error:
            if not _is_broken_stream(error) or attempt == ATTEMPTS:
                raise _away(error, where, verb) from None
        time.sleep(min(0.1 * 2**attempt, 2.0) * (0.5 + random.random()))  # noqa: S311
    raise AssertionError("unreachable")


def _is_broken_stream(error: Exception) -> bool:
    from botocore.exceptions import IncompleteReadError, ResponseStreamingError

    return isinstance(error, IncompleteReadError | ResponseStreamingError)


def _refusal(error: Exception, code: str, where: str, verb: str) -> StoreError:
    if code in _TAKEN:
        return _TakenError("the name is taken", where=where)
    if code in _GONE:
        return _MissingError("there is no such key", where=where)
    return StoreError(
        f"S3 refused: it could not be {verb}",
        where=where,
        found=_said(error),
        fix=_FIXES.get(code, "run again when S3 works; nothing was published"),
    )


def _away(error: Exception, where: str, verb: str) -> StoreError:
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StoreError(
            f"there are no credentials for S3: it could not be {verb}",
            where=where,
            fix="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the "
            "machine a role",
        )
    return StoreError(
        f"S3 did not answer properly: it could not be {verb}",
        where=where,
        found=_said(error),
        fix="look at AWS_ENDPOINT_URL_S3 and the network, then run again; nothing was published",
    )


def _said(error: Exception) -> str:
    """What boto3 says, bounded; it never prints secret keys."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"


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
