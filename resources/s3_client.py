"""How S3 is asked: one client for a process, one deadline for each request, refusals explained.

Credentials, region and endpoint come from where boto3 always finds them: ``AWS_ACCESS_KEY_ID``,
``AWS_PROFILE``, an instance's role, ``AWS_REGION``, ``AWS_ENDPOINT_URL_S3``.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from mlops_assets.errors import EnvironmentProblemError, StoreError

T = TypeVar("T")

DEADLINE_SECONDS = 150.0
"""So long is a request repeated, all tries together; boto3 itself repeats nothing."""
SMALL_SECONDS = 20.0
"""So long may a server be silent about a small request before it is asked again."""
LARGE_SECONDS = 60.0
"""The same about a request that moves or removes much."""
CONNECT_SECONDS = 5.0
_LONGEST_PAUSE = 5.0
_LOG_IN = re.compile(r"//[^/\s\"']*@")
_GONE = {"NoSuchKey", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "412"}
PASSING = {
    *("ConditionalRequestConflict", "OperationAborted", "409"),
    *("RequestTimeout", "RequestTimeoutException", "SlowDown", "BandwidthLimitExceeded"),
    *("InternalError", "ServiceUnavailable"),
    *("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"),
}
"""Refusals that another try may overcome, besides every status from 500."""
FIXES = {
    "NoSuchBucket": "create the bucket, or correct the address",
    "403": "correct the credentials in the environment, or what they may do",
    "AccessDenied": "allow s3:GetObject, s3:PutObject, s3:ListBucket, s3:DeleteObject, "
    "s3:ListBucketMultipartUploads, s3:ListMultipartUploadParts and s3:AbortMultipartUpload on it",
    "InvalidAccessKeyId": "correct the credentials in the environment",
    "SignatureDoesNotMatch": "correct the credentials in the environment",
    "ExpiredToken": "renew the credentials",
}


class TakenError(StoreError):
    """A key was there already."""


class MissingError(StoreError):
    """A key is not there."""


class AwayError(StoreError):
    """The server did not answer properly until the deadline."""


class BrokenAnswerError(Exception):
    """The server's answer is not whole."""


def s3_client(silence_seconds: float = SMALL_SECONDS) -> Any:
    """The process's client of S3, made when it is first used.

    A changed ``AWS_ENDPOINT_URL_S3`` or access key makes another one.

    Args:
        silence_seconds: How long it waits for a server that says nothing.

    Raises:
        EnvironmentProblemError: The settings in the environment do not fit together.
    """
    return _client(
        os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        os.environ.get("AWS_ACCESS_KEY_ID"),
        os.environ.get("AWS_PROFILE"),
        os.getpid(),
        silence_seconds,
    )


def endpoint() -> str:
    """Address of the server that the client asks, without a log-in."""
    return _LOG_IN.sub("//", str(s3_client().meta.endpoint_url))


def attempted(operation: Callable[[Any], T], where: str, verb: str, *, is_large: bool = False) -> T:
    """The operation's answer; whatever may pass is asked for again until the deadline.

    A server that hangs, refuses connections or starts late is waited for as one that answers 500.
    The last try begins early enough to end, in silence, before the deadline.

    Args:
        operation: Sends one request by the client that it is given.
        where: The address, for messages.
        verb: What could not be done, for messages: ``read``, ``written``, …
        is_large: Whether the request moves or removes much.

    Raises:
        TakenError: The key is there.
        MissingError: There is no such key.
        AwayError: There was no proper answer until the deadline.
        StoreError: The server refused.
    """
    silence = LARGE_SECONDS if is_large else SMALL_SECONDS
    client = s3_client(silence)
    last_start = time.monotonic() + DEADLINE_SECONDS - silence
    pause = 0.2
    while True:
        try:
            return operation(client)
        except Exception as error:
            if not _is_of_s3(error):
                raise
            wait = pause * (0.5 + random.random())  # noqa: S311
            if not _may_pass(error) or time.monotonic() + wait > last_start:
                raise _explained(error, where, verb) from None
        time.sleep(wait)
        pause = min(2 * pause, _LONGEST_PAUSE)


@cache
def _client(
    endpoint: str | None, _key: str | None, _profile: str | None, _pid: int, silence: float
) -> Any:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=silence,
        retries={"mode": "standard", "total_max_attempts": 1},
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


def _is_of_s3(error: Exception) -> bool:
    """Whether an error is about the conversation with the server, and not about this machine."""
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(error, BotoCoreError | ClientError) or _is_broken(error)


def _may_pass(error: Exception) -> bool:
    """Whether another try may succeed."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return _code(error) in PASSING or _status(error) >= 500 or _status(error) == 429
    return _is_broken(error) and "CERTIFICATE_VERIFY_FAILED" not in str(error)


def _is_broken(error: Exception) -> bool:
    """Whether there was no connection, no answer, or part of one."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    return isinstance(
        error,
        BrokenAnswerError
        | ResponseParserError
        | HTTPError
        | ConnectionError
        | exceptions.HTTPClientError
        | exceptions.ConnectionError
        | exceptions.IncompleteReadError,
    )


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _explained(error: Exception, where: str, verb: str) -> StoreError:
    """What the caller is told."""
    from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

    if isinstance(error, ClientError):
        return _refusal(error, where, verb)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StoreError(
            f"there are no credentials for S3: it could not be {verb}",
            where=where,
            fix="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the "
            "machine a role",
        )
    return AwayError(
        f"S3 did not answer properly: it could not be {verb}",
        where=where,
        found=_said(error),
        fix="look at AWS_ENDPOINT_URL_S3 and the network, then run again; nothing was published",
    )


def _refusal(error: Exception, where: str, verb: str) -> StoreError:
    code = _code(error)
    if code in _TAKEN:
        return TakenError("the name is taken", where=where)
    if code in _GONE:
        return MissingError(
            "there is no such key",
            where=where,
            fix="restore it from a backup: the engine removes nothing that it names",
        )
    return (AwayError if _status(error) >= 500 else StoreError)(
        f"S3 refused: it could not be {verb}",
        where=where,
        found=_said(error),
        fix=FIXES.get(code, "run again when S3 works; nothing was published"),
    )


def _said(error: Exception) -> str:
    """What boto3 says, bounded; it prints no secret keys, but addresses with a log-in in them."""
    text = _LOG_IN.sub("//…@", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:300]}"
