"""Whether an S3 server keeps the promise that the store is built on: ``If-None-Match``.

A server that does not know the header and ignores it would overwrite manifests and ledger entries
without a word. So each process asks once for each bucket, before it first relies on the promise.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress

from mlops_assets.errors import AlreadyExistsError, StoreError
from resources.s3_client import AwayError

PROBES = "_probes"
"""Below the store's prefix: where the objects of the question lie for a moment."""

_honoured: set[tuple[str, str]] = set()
_lock = threading.Lock()


def require_conditions(
    endpoint: str,
    bucket: str,
    *,
    create: Callable[[str], None],
    delete: Callable[[str], None],
) -> None:
    """Write a new key twice under the condition that it is free: the second time must fail.

    Args:
        endpoint: The server.
        bucket: The bucket.
        create: Writes a key unless it is there; raises AlreadyExistsError when it is.
        delete: Removes a key.

    Raises:
        StoreError: The second write was accepted, or the server could not be asked.
    """
    if (endpoint, bucket) in _honoured:
        return
    with _lock:
        if (endpoint, bucket) in _honoured:
            return
        key = f"{PROBES}/{uuid.uuid4().hex}"
        is_away = False
        try:
            create(key)
            create(key)
        except AlreadyExistsError:
            _honoured.add((endpoint, bucket))
        except AwayError:
            is_away = True
            raise
        else:
            raise StoreError(
                "the S3 server ignores conditions: it would overwrite what was published",
                where=f"s3://{bucket} at {endpoint}",
                found="a key that was there was written again under `If-None-Match: *`",
                expected="the refusal 412 PreconditionFailed",
                fix="keep the store on a server with conditional writes, such as Amazon S3, or in "
                "a folder; look also for a proxy before the server that drops the header",
            )
        finally:
            if not is_away:  # to ask once more would be to wait once more
                with suppress(StoreError):  # what stays is small, and nobody reads it
                    delete(key)
