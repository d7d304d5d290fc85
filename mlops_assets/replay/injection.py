"""Faults and shifts that a replay adds to history, to see what the engine makes of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from mlops_assets.config.problems import nearest
from mlops_assets.config.project import Project
from mlops_assets.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

FORM = re.compile(
    r"^(?P<kind>shift|nulls):(?P<column>[A-Za-z_][A-Za-z0-9_]*)"
    r"(?:(?P<operator>[+*-])(?P<amount>\d+(?:\.\d+)?))?"
    r"@(?P<start>[\dT:-]+?)(?:\.\.(?P<end>[\dT:-]+))?$"
)
EXAMPLES = "shift:temp+15@2013-07-01 or nulls:carrier@2013-08-01..2013-08-08"


@dataclass(frozen=True)
class Injection:
    """A change of one input from a moment on.

    Attributes:
        kind: ``shift`` (the world changed: retraining sees it too) or ``nulls`` (the serving
            pipeline lost a value: only live requests lack it).
        column: The input.
        operator: ``+``, ``-`` or ``*`` of a shift.
        amount: Of a shift.
        start: First moment (UTC).
        end: Moment from which it is over, if it ends.
    """

    kind: Literal["shift", "nulls"]
    column: str
    operator: str
    amount: float
    start: datetime
    end: datetime | None

    @classmethod
    def parse(cls, text: str, project: Project) -> Injection:
        """Read ``shift:<column>±<amount>@<date>[..<date>]`` or ``nulls:<column>@<date>[..<date>]``.

        Raises:
            ConfigError: It is not of that form, or names no input.
        """
        match = FORM.match(text.strip())
        if match is None or (match["kind"] == "shift") != bool(match["operator"]):
            raise ConfigError("not an injection", where="--inject", found=text, expected=EXAMPLES)
        inputs = project.spec.features.inputs
        allowed = inputs.numeric if match["kind"] == "shift" else inputs.names
        if match["column"] not in allowed:
            near = nearest(match["column"], allowed)
            kind = "numeric input" if match["kind"] == "shift" else "input"
            raise ConfigError(
                f"an injection needs a {kind}",
                where=f"--inject {text}",
                found=match["column"],
                expected=f"one of {', '.join(allowed)}",
                fix=f"did you mean {near}?" if near else None,
            )
        return cls(
            "shift" if match["kind"] == "shift" else "nulls",
            match["column"],
            match["operator"] or "+",
            float(match["amount"] or 0),
            parse_moment(match["start"], "--inject"),
            parse_moment(match["end"], "--inject") if match["end"] else None,
        )

    def covers(self, moment: datetime) -> bool:
        """Whether it is in force then."""
        return self.start <= moment and (self.end is None or moment < self.end)

    def apply(self, table: pa.Table, time: str) -> pa.Table:
        """The rows as live requests would have them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        moments = table[time]
        hit = pc.greater_equal(moments, pa.scalar(self.start).cast(moments.type))
        if self.end is not None:
            hit = pc.and_(hit, pc.less(moments, pa.scalar(self.end).cast(moments.type)))
        before = table[self.column]
        after = pa.nulls(table.num_rows, before.type)
        if self.kind == "shift":
            number = pa.scalar(-self.amount if self.operator == "-" else self.amount)
            function = pc.multiply if self.operator == "*" else pc.add
            after = function(before.cast(pa.float64()), number).cast(before.type, safe=False)
        place = table.column_names.index(self.column)
        return table.set_column(place, self.column, pc.if_else(hit, after, before))

    def to_sql(self, time: str) -> str:
        """A shift as a Spark SQL expression for the column."""
        name, moment = f"`{self.column}`", f"`{time}`"
        condition = f"{moment} >= TIMESTAMP '{_text(self.start)}'"
        if self.end is not None:
            condition += f" AND {moment} < TIMESTAMP '{_text(self.end)}'"
        return f"CASE WHEN {condition} THEN {name} {self.operator} {self.amount} ELSE {name} END"


def shifted_query(query: str, columns: list[str], injections: list[Injection], time: str) -> str:
    """A query whose output is shifted, so that features made later have the shift too.

    Args:
        query: One ``SELECT``.
        columns: Columns of its output.
        injections: Only shifts are applied.
        time: The column with the event time.
    """
    shifts = {one.column: one for one in injections if one.kind == "shift"}
    if not shifts:
        return query
    chosen = [
        f"{shifts[name].to_sql(time)} AS `{name}`" if name in shifts else f"`{name}`"
        for name in columns
    ]
    body = query.strip().rstrip(";")
    return f"SELECT\n  {', '.join(chosen)}\nFROM (\n{body}\n)\n"


def parse_moment(text: str, where: str) -> datetime:
    """A date or a moment in ISO 8601; UTC where it names no zone.

    Raises:
        ConfigError: It is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            "not a date", where=where, found=text, expected="a date such as 2013-04-01"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_span(start: str, end: str) -> tuple[datetime, datetime]:
    """The moments after ``--from`` and ``--to``.

    Raises:
        ConfigError: One is no date, or there is nothing between them.
    """
    first, last = parse_moment(start, "--from"), parse_moment(end, "--to")
    if first >= last:
        raise ConfigError(
            "there is no time between --from and --to",
            found=f"--from {start} --to {end}",
            expected="a --to after --from",
            fix="exchange them, or choose a later --to: the day after the last one",
        )
    return first, last


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") + "+00:00"
