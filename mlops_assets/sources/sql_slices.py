"""New rows of a database in slices, each row exactly once, by a column that only grows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from mlops_assets.config.base import format_duration
from mlops_assets.config.sql import SqlIncremental, SqlSource
from mlops_assets.errors import SchemaError, SourceError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.incremental import Plan, Slice, Written
from mlops_assets.sources.sql_parquet import write_rows
from mlops_assets.sources.sql_positions import Positions, positions_of
from mlops_assets.sources.sql_relation import Relation, open_relation
from resources.sql import Session, quoted

SERIES = "rows"
"""A database has one series."""
_MAX_SLICES = 20
"""Slices of one plan; the rest is ``waiting`` and comes with the next one."""
_POLL_SECONDS = 0.2
_PAUSE_SECONDS = 1.0
"""Between planning and reading: a number that was drawn from a sequence gets its transaction."""
_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


class Slices:
    """The source in slices."""

    def plan(self, spec: SqlSource, taken: Mapping[str, Slice], context: SourceContext) -> Plan:
        """Slices beyond the newest one that was taken; bounded in number and in rows.

        Rows with a timestamp that are younger than ``settle`` are left for later.

        Raises:
            SourceError: The server is away, or the column is not the one counted by before.
            SchemaError: The column cannot be counted by, or there are rows without a value.
        """
        rule, where = _rule(spec), context.where
        with open_relation(spec, context) as relation:
            session = relation.session
            positions = positions_of(rule, relation.schema, where)
            _set_positions(session, positions, _after(rule, positions, taken, where))
            if rule.nulls == "refuse":
                _refuse_untakable(relation, rule, positions, where)
            column = _column(rule)
            waiting = session.row(
                f"SELECT count(*) FROM {relation.sql} WHERE {column} > "
                f"{_value('after', positions)} AND {column} <= {_value('ceiling', positions)}"
            )[0]
            slices = tuple(_slices(relation, rule, positions)) if waiting else ()
        return Plan(slices, int(waiting))

    def write(self, spec: SqlSource, part: Slice, folder: Path, context: SourceContext) -> Written:
        """The rows of a slice, once every transaction that could add one to it has ended.

        Raises:
            SourceError: The server went away, or a transaction stays open; nothing is left in
                the folder, and the slice can be written again.
            SchemaError: Columns or values do not fit.
        """
        rule, where = _rule(spec), context.where
        with open_relation(spec, context, reads=True) as relation:
            positions = positions_of(rule, relation.schema, where)
            start = positions.position(part.start, where)
            end = positions.position(part.end, where)
            _wait_for_writers(relation.session, rule, float(part.detail.get("planned", 0)), where)
            _set_positions(relation.session, positions, start, end)
            column = _column(rule)
            ending = (
                f"WHERE {column} > {_value('after', positions)} "
                f"AND {column} <= {_value('end', positions)} ORDER BY {column}"
            )
            copied = write_rows(relation, spec, ending=ending, folder=folder, where=where)
        return Written(copied.rows, latest=_iso(copied.latest))

    def show(self, spec: SqlSource, taken: Mapping[str, Slice], context: SourceContext) -> None:
        """Nothing: a database has no place for it."""


def _rule(spec: SqlSource) -> SqlIncremental:
    if spec.incremental is None:
        raise ValueError("the source is not taken in slices")
    return spec.incremental


def _after(
    rule: SqlIncremental, positions: Positions, taken: Mapping[str, Slice], where: str
) -> str:
    """The position up to which rows were taken."""
    newest = taken.get(SERIES)
    if newest is None:
        return positions.start(rule.start, where)
    counted = newest.detail.get("column", rule.column)
    if counted != rule.column:
        raise SourceError(
            "the rows taken so far were counted by another column",
            where=where,
            found=f"slices by {counted}",
            expected=f"slices by {rule.column}",
            fix="restore the column, or give the source another name, so that it starts anew",
        )
    return positions.position(newest.end, where)


def _column(rule: SqlIncremental) -> str:
    """SQL of the column; the table's, not an output column of the same name."""
    return f"source.{quoted(rule.column)}"


def _value(name: str, positions: Positions) -> str:
    """SQL of a position that was set in the session."""
    return f"current_setting('mlops.{name}')::{positions.sql_type}"


def _set_positions(
    session: Session, positions: Positions, after: str, end: str | None = None
) -> None:
    session.set(
        {
            "mlops.after": after,
            "mlops.end": positions.ceiling if end is None else end,
            "mlops.floor": positions.floor,
            "mlops.ceiling": positions.ceiling,
        }
    )


def _refuse_untakable(
    relation: Relation, rule: SqlIncremental, positions: Positions, where: str
) -> None:
    column = _column(rule)
    count = relation.session.row(
        f"SELECT count(*) FROM {relation.sql} WHERE {column} IS NULL "
        f"OR {column} <= {_value('floor', positions)} OR {column} > {_value('ceiling', positions)}"
    )[0]
    if count:
        raise SchemaError(
            "rows have no position in the incremental column, and would never be taken",
            where=where,
            found=f"{count:,} rows in which {rule.column} is null or infinite",
            expected="a value in every row (NOT NULL)",
            fix=f"fill {rule.column}, or write `nulls: skip` to leave such rows out",
        )


def _slices(relation: Relation, rule: SqlIncremental, positions: Positions) -> Iterator[Slice]:
    """Slices of about ``max_rows_per_slice`` rows; all rows of one value are in the same."""
    session = relation.session
    _set_horizon(session, rule, positions)
    column = _column(rule)
    chosen = (
        f"SELECT {positions.as_text(column)} AS mlops_position FROM {relation.sql} "
        f"WHERE {column} > {_value('after', positions)} AND {column} <= {_value('end', positions)}"
    )
    planned = float(session.row(_NOW)[0])
    after = session.row("SELECT current_setting('mlops.after')")[0]
    for _ in range(_MAX_SLICES):
        nth = rule.max_rows_per_slice - 1
        last = session.row(f"{chosen} ORDER BY {column} OFFSET {nth} LIMIT 1")
        last = last or session.row(f"{chosen} ORDER BY {column} DESC LIMIT 1")
        if not last:
            return
        detail = {"column": rule.column, "planned": planned}
        yield Slice(SERIES, positions.word(after), positions.word(last[0]), detail)
        after = last[0]
        session.set({"mlops.after": after})


def _set_horizon(session: Session, rule: SqlIncremental, positions: Positions) -> None:
    """Set the last position that may be taken: for timestamps now less ``settle``."""
    if positions.kind == "integer":
        return
    seconds = rule.settle.total_seconds()
    session.set({"mlops.settle": f"{seconds} seconds"})
    moment = "now() - current_setting('mlops.settle')::interval"
    if positions.kind == "timestamp":
        moment = f"({moment})::timestamp"
    session.set({"mlops.end": session.row(f"SELECT {positions.as_text(moment)}")[0]})


def _wait_for_writers(session: Session, rule: SqlIncremental, planned: float, where: str) -> None:
    """Wait until all transactions that write now have ended, then look at what they left.

    A row of the slice that is not visible yet belongs to a transaction that had written before
    the slice was planned, or whose first write follows the drawing of its number at once. Both
    are among the transactions of a snapshot that is taken a moment after the planning.

    Raises:
        SourceError: One of them is still open after ``wait_for_writers``.
    """
    age = float(session.row(_NOW)[0]) - planned
    time.sleep(min(_PAUSE_SECONDS, max(0.0, _PAUSE_SECONDS - age)))
    session.renew()
    newest = int(session.row("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")[0])
    end = time.monotonic() + rule.wait_for_writers.total_seconds()
    while True:
        oldest = int(session.row("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")[0])
        if oldest >= newest:
            return
        if time.monotonic() >= end:
            raise _still_open(rule.wait_for_writers, where)
        time.sleep(_POLL_SECONDS)
        session.renew()


def _still_open(waited: timedelta, where: str) -> SourceError:
    return SourceError(
        "a transaction that may still add rows to the slice is open",
        where=where,
        found=f"a transaction that has not ended after {format_duration(waited)}",
        expected="transactions that write and then end",
        fix="nothing was taken; run again later, raise `wait_for_writers`, or look for the "
        "transaction in pg_stat_activity (backend_xid) and pg_prepared_xacts",
    )


def _iso(latest: object) -> str | None:
    if isinstance(latest, datetime):
        return latest.replace(tzinfo=None).isoformat() + "Z"
    return None if latest is None else str(latest)
