"""A read-only session of a PostgreSQL database that hands out Arrow record batches."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_assets.config.redaction import Redactor
from mlops_assets.errors import EnvironmentProblemError
from resources.sql_errors import call

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

APPLICATION = "mlops"
_SCHEMES = ("postgresql://", "postgres://")
_CLIENT = {
    "application_name": APPLICATION,
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
"""Parameters of libpq; what the URI says comes first. A server that vanishes is noticed within a
minute."""
_BATCH_BYTES = 4 * 1024 * 1024


def quoted(*names: str) -> str:
    """An identifier for SQL, such as ``"public"."orders"``."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


class Session:
    """A transaction that sees one snapshot and changes nothing; made by :func:`open_session`."""

    def __init__(
        self, connection: Any, run: Callable[[Callable[[], Any]], Any], timeout: timedelta
    ) -> None:
        self._connection = connection
        self._run = run
        self._timeout = timeout

    def renew(self) -> None:
        """End the transaction and begin another, which sees what was committed since."""
        self._run(self._connection.rollback)
        self._execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self.set(
            {
                "statement_timeout": str(int(self._timeout.total_seconds() * 1000)),
                "TimeZone": "UTC",
                "DateStyle": "ISO",
                "extra_float_digits": "1",
                "bytea_output": "hex",
                "IntervalStyle": "postgres",
            }
        )

    def set(self, values: Mapping[str, str]) -> None:
        """Set parameters until the transaction ends.

        A statement that is streamed takes no bound parameters (it runs as ``COPY``), so values go
        to the server as parameters of ``set_config`` and are read by ``current_setting``.
        """
        for name, value in values.items():
            self._execute("SELECT set_config($1, $2, true)", (name, value))

    def row(self, sql: str) -> tuple[Any, ...]:
        """The first row of a query; empty when there is none."""
        rows = self.rows(sql)
        return rows[0] if rows else ()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a query with few rows."""
        return self._execute(sql)

    def schema(self, sql: str) -> pa.Schema:
        """Columns that a query returns; it is not run."""
        with self._cursor() as cursor:
            return self._run(lambda: cursor.adbc_execute_schema(sql))

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Rows of a query as they arrive, a few megabytes at a time."""
        with self._cursor() as cursor:
            hint = {"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)}
            self._run(lambda: cursor.adbc_statement.set_options(**hint))
            self._run(lambda: cursor.execute(sql))
            reader = self._run(cursor.fetch_record_batch)
            while (batch := self._run(lambda: next(reader, None))) is not None:
                yield batch

    def _execute(self, sql: str, parameters: tuple[str, ...] | None = None) -> list[Any]:
        with self._cursor() as cursor:
            self._run(lambda: cursor.execute(sql, parameters))
            return list(self._run(cursor.fetchall)) if cursor.description else []

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        cursor = self._run(self._connection.cursor)
        try:
            yield cursor
        finally:
            _close(cursor)


@contextmanager
def open_session(
    uri_env: str,
    *,
    where: str,
    statement_timeout: timedelta,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Session]:
    """A session of the database whose URI an environment variable holds.

    Args:
        uri_env: Name of the variable.
        where: The source, for messages.
        statement_timeout: Longest time for one statement, its reading included.
        environ: The process's environment by default.

    Raises:
        EnvironmentProblemError: The variable is not set or no URI, or the driver is missing.
        SourceError: The server is away or refuses; from the session's methods, too.
    """
    uri = _uri(uri_env, where, os.environ if environ is None else environ)
    redactor = Redactor({uri_env: uri})
    if importlib.util.find_spec("adbc_driver_postgresql") is None:
        raise EnvironmentProblemError(
            "the driver for PostgreSQL is not installed",
            where=where,
            found="no package adbc_driver_postgresql",
            fix="pip install 'mlops-assets[sql]'",
        )
    import adbc_driver_postgresql.dbapi as driver

    def run(act: Callable[[], T]) -> T:
        return call(act, where=where, uri_env=uri_env, redactor=redactor)

    connection = run(lambda: driver.connect(_with_defaults(uri)))
    try:
        session = Session(connection, run, statement_timeout)
        session.renew()
        yield session
    finally:
        _close(connection)


def _uri(uri_env: str, where: str, environ: Mapping[str, str]) -> str:
    uri = environ.get(uri_env, "").strip()
    if uri.startswith(_SCHEMES):
        return uri
    raise EnvironmentProblemError(
        f"the environment variable {uri_env} has no connection URI",
        where=where,
        found="text that begins otherwise (not shown)" if uri else "a variable that is not set",
        expected="postgresql://user:password@host:5432/database",
        fix=f"set {uri_env} where the code location and the runs start",
    )


def _with_defaults(uri: str) -> str:
    """The URI with our parameters of libpq, where it does not set them itself."""
    base, mark, query = uri.partition("?")
    names = {part.partition("=")[0] for part in query.split("&")}
    added = [f"{name}={value}" for name, value in _CLIENT.items() if name not in names]
    return f"{base}?{'&'.join([*([query] if mark and query else []), *added])}"


def _close(opened: Any) -> None:
    """Close without a second error: what went wrong was raised before."""
    from adbc_driver_manager import dbapi

    with suppress(dbapi.Error, OSError, RuntimeError):
        opened.close()
