"""What is shown of a database's errors, without a database."""

from __future__ import annotations

import pytest

from mlops_assets.config.redaction import Redactor
from mlops_assets.errors import EnvironmentProblemError, SourceError
from resources.sql_errors import to_error

URI = "postgresql://me:hunter2@host/db"


class SaidError(Exception):
    """An error as the driver raises it."""

    def __init__(self, text: str, state: str | None = None, primary: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = state
        self.details = [("PG_DIAG_MESSAGE_PRIMARY", primary.encode())] if primary else []


def told(error: Exception) -> Exception:
    return to_error(error, where="here", uri_env="DB", redactor=Redactor({"DB": URI}))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SaidError("x", "42501", "permission denied for table orders"), "GRANT USAGE"),
        (SaidError("x", "57014", "canceling statement due to statement timeout"), "check_timeout"),
        (
            SaidError("[libpq] x: FATAL:  terminating connection due to administrator command"),
            "again",
        ),
        (SaidError("IO: [libpq] Failed to connect: a\nb: Connection refused"), "connect"),
        (SaidError("something new"), "something new"),
        (SaidError(""), "SaidError"),
    ],
)
def test_what_to_do(error: SaidError, words: str) -> None:
    assert words in str(told(error))
    assert isinstance(told(error), SourceError)


@pytest.mark.parametrize(
    "text",
    [
        'invalid input syntax for type integer: "hunter2"',
        'invalid input: "a "quoted" hunter2"',
        "cannot cast 'hunter2' and \"more hunter2",
        f"could not reach {URI}",
        "the password is hunter2",
        "ERROR: bad\nDETAIL: Failing row contains (hunter2)",
        "ERROR: bad\n\nQuery was: SELECT hunter2",
    ],
)
def test_values_and_passwords_are_not_shown(text: str) -> None:
    assert "hunter2" not in str(told(SaidError(text, "22P02", text.partition("\n")[0])))
    assert "hunter2" not in str(told(SaidError(text)))


def test_an_unreadable_uri_is_not_shown() -> None:
    error = told(SaidError('[libpq] Failed to connect: invalid percent-encoded token: "h%unter2"'))
    assert isinstance(error, EnvironmentProblemError)
    assert "unter2" not in str(error)


def test_long_messages_are_cut() -> None:
    assert len(str(told(SaidError("x" * 100_000)))) < 1000
