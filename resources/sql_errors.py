"""What a PostgreSQL server or its client library says, as errors without secrets or values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from mlops_assets.config.redaction import Redactor
from mlops_assets.errors import EnvironmentProblemError, MlopsError, SourceError

T = TypeVar("T")

RETRY = "nothing was published; run again when the server answers"
_MAX_TEXT = 400
_QUOTED = re.compile(r"[\"'].*[\"']|[\"'].*", re.DOTALL)
"""From the first quote to the last: a quoted value may hold quotes itself."""
_PREFIX = re.compile(
    r"^(?:[A-Z_]+: )?(?:\[libpq\][^:]*: )?(?:[^:\n]*: )?(?=ERROR:|FATAL:|PANIC:)|^"
)
_STATES: dict[str, tuple[str, str]] = {
    "42P01": (
        "there is no such table",
        "look at the name, its schema and its upper and lower case",
    ),
    "3F000": ("there is no such schema", "look at the table's name"),
    "42501": ("the database refuses access", "GRANT USAGE on the schema and SELECT on the table"),
    "42703": ("there is no such column", "look at the names of the columns"),
    "57014": (
        "the statement took longer than it may",
        "add an index, take the table in (smaller) slices with `incremental`, or raise "
        "`statement_timeout` (reading) or `check_timeout` (looking for something new)",
    ),
    "57P01": ("the server ended the connection", RETRY),
    "57P02": ("the server crashed", RETRY),
    "57P03": ("the server is starting or stopping", RETRY),
    "53300": ("the server has no connection left", RETRY),
    "40001": ("the server cancelled the reading", RETRY),
    "25006": ("the query tries to change the database", "write a query that only reads"),
}
_WORDS: tuple[tuple[str, str, str], ...] = (
    ("password authentication failed", "the database refuses the login", "look at the password"),
    ("no password supplied", "the database asks for a password", "put it into the URI"),
    ("no pg_hba.conf entry", "the database refuses this client", "look at pg_hba.conf and sslmode"),
    ("does not exist", "there is no such database or role", "look at the URI"),
    ("statement timeout", *_STATES["57014"]),
    ("too many", *_STATES["53300"]),
    ("remaining connection slots", *_STATES["53300"]),
    ("Connection refused", "the server does not answer", RETRY),
    ("timeout expired", "the server does not answer in time", RETRY),
    ("could not translate host name", "the server's name is unknown", "look at the URI"),
    ("terminating connection", *_STATES["57P01"]),
    ("closed the connection", "the connection was lost", RETRY),
    ("no connection to the server", "the connection was lost", RETRY),
    ("could not receive data", "the connection was lost", RETRY),
    ("conflict with recovery", *_STATES["40001"]),
    ("starting up", *_STATES["57P03"]),
    ("shutting down", *_STATES["57P03"]),
)
_BAD_URI = ("percent-encoded", "unexpected spaces", 'missing "="', "invalid URI", "invalid port")
_SHOWS_NAMES = ("42", "3F", "25")
"""Classes of SQLSTATE whose messages quote names of the query; others may quote values of rows."""


def call(act: Callable[[], T], *, where: str, uri_env: str, redactor: Redactor) -> T:
    """Do something with the database.

    The driver's own error is not chained: it carries the query, and parts of the URI.

    Raises:
        SourceError: The server is away, refuses, or cannot do it.
        EnvironmentProblemError: The URI is not one.
    """
    import pyarrow as pa
    from adbc_driver_manager import dbapi

    try:
        return act()
    except (dbapi.Error, OSError, pa.ArrowException) as error:
        translated = to_error(error, where=where, uri_env=uri_env, redactor=redactor)
    raise translated


def to_error(error: Exception, *, where: str, uri_env: str, redactor: Redactor) -> MlopsError:
    """One of the driver's errors in our words."""
    state = sql_state(error)
    text = _message(error)
    if any(word in text for word in _BAD_URI):
        return EnvironmentProblemError(
            f"the connection URI in {uri_env} cannot be read",
            where=where,
            found="text that is no URI (not shown: it holds a password)",
            expected="postgresql://user:password@host:5432/database",
            fix="write special characters of the password as %40 for @, %2F for /, %25 for %",
        )
    words = next(((p, fix) for word, p, fix in _WORDS if word.lower() in text.lower()), None)
    if not state.startswith(_SHOWS_NAMES):
        text = _QUOTED.sub('"…"', text)
    problem, fix = _STATES.get(state) or words or ("the database cannot be read", None)
    found = redactor.redact(text)[:_MAX_TEXT]
    return SourceError(
        problem,
        where=f"{where} ({uri_env})",
        found=f"{found} (SQLSTATE {state})" if state else found,
        fix=fix,
    )


def sql_state(error: Exception) -> str:
    """The error's SQLSTATE; empty when the server did not say one."""
    state = getattr(error, "sqlstate", None) or ""
    return state.replace("\0", "").strip()


def _message(error: Exception) -> str:
    """The server's own sentence, without the query and without DETAIL, which quotes rows."""
    for name, value in getattr(error, "details", None) or ():
        key = name.decode() if isinstance(name, bytes) else name
        if key == "PG_DIAG_MESSAGE_PRIMARY":
            return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    text = str(error).partition("\n\nQuery was:")[0].strip()
    lines = text.splitlines() or [type(error).__name__]
    return _PREFIX.sub("", lines[0]).strip()
