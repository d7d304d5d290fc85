"""How S3 is asked: one client for a process, broken answers asked for again, refusals explained.

Credentials, region and endpoint come from where boto3 always finds them: ``AWS_ACCESS_KEY_ID``,
``AWS_PROFILE``, an instance's role, ``AWS_REGION``, ``AWS_ENDPOINT_URL_S3``.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from mlops_assets.errors import EnvironmentProblemError, StoreError

T = TypeVar("T")

ATTEMPTS = 5
"""How often an operation is tried whose answer broke off; boto3 itself repeats refused requests."""
_GONE = {"NoSuchKey", "404", "NotFound"}
_TAKEN = {"PreconditionFailed", "412"}
_BUSY = {"ConditionalRequestConflict", "409"}
FIXES = {
    "NoSuchBucket": "create the bucket, or correct the address",
    "403": "correct the credentials in the environment, or what they may do",
    "AccessDenied": "allow s3:GetObject, s3:PutObject, s3:ListBucket and s3:DeleteObject on it",
    "InvalidAccessKeyId": "correct the credentials in the environment",
    "SignatureDoesNotMatch": "correct the credentials in the environment",
    "ExpiredToken": "renew the credentials",
}


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


class TakenError(StoreError):
    """A key was there already."""


class MissingError(StoreError):
    """A key is not there."""


class BrokenAnswerError(Exception):
    """The server's answer is not whole."""


def attempted(operation: Callable[[], T], where: str, verb: str) -> T:
    """The operation's answer; broken answers are asked for again, refusals are errors."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    from botocore.parsers import ResponseParserError
    from s3transfer.exceptions import S3DownloadFailedError

    broken = (
        *(BrokenAnswerError, HTTPClientError, ResponseParserError),
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
        return TakenError("the name is taken", where=where)
    if code in _GONE:
        return MissingError("there is no such key", where=where)
    return StoreError(
        f"S3 refused: it could not be {verb}",
        where=where,
        found=_said(error),
        fix=FIXES.get(code, "run again when S3 works; nothing was published"),
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
