"""Divides rows into training, validation and test rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mlops_assets.config.project import ProjectSpec
from mlops_assets.errors import EmptyDataError, SchemaError
from mlops_assets.training.encoding import text_codes

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

_MICROSECOND = timedelta(microseconds=1)
_HASH_RANGE = 2.0**64


@dataclass(frozen=True)
class Split:
    """Row numbers of each part, ascending, and what was left out.

    Attributes:
        train: Rows that weights are fitted on.
        validation: Rows that early stopping looks at.
        test: Rows that only the evaluation sees.
        train_until: Newest time among training and validation rows.
        test_from: Oldest time among test rows when split by time, else ``None``.
        unlabelled: Rows without a label.
        immature: Rows too young for a final label.
        embargoed: Rows older than the test rows whose label became final only after the first of
            them: at that moment nobody could have trained on them.
        untimed: Rows without a time, when the split or the label's maturity needs one.
    """

    train: Rows
    validation: Rows
    test: Rows
    train_until: datetime | None
    test_from: datetime | None
    unlabelled: int
    immature: int
    embargoed: int = 0
    untimed: int = 0

    def describe(self) -> dict[str, Any]:
        """Counts and times, as JSON values."""
        fields = {name: value for name, value in asdict(self).items() if not _is_rows(value)}
        times = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in fields.items()
        }
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {**{name: len(rows) for name, rows in parts.items()}, **times}


def _is_rows(value: object) -> bool:
    return isinstance(value, np.ndarray)


def split_rows(table: pa.Table, spec: ProjectSpec) -> Split:
    """Divide the labelled, mature rows as ``evaluation.split`` says.

    The clock is that of the data, never that of the machine: a label is mature when its row is
    at least ``matures_after`` older than the newest labelled row. Equal times stay together.

    Raises:
        EmptyDataError: A part would have no rows.
        SchemaError: The label, time or entity column is missing.
    """
    features = spec.features
    for name in (features.label.column, features.time, features.entity):
        if name not in table.column_names:
            raise SchemaError(
                "the column is missing from the features",
                where=f"features column {name}",
                found=table.column_names,
                expected=name,
            )
    labelled = table[features.label.column].is_valid().to_numpy()
    times = _times(table, features.time)
    by_time = spec.evaluation.split.by == "time"
    maturity = features.label.matures_after
    needs_time = by_time or maturity is not None
    timed = times != np.iinfo(np.int64).min if needs_time else np.ones(len(labelled), dtype=bool)
    rows = np.flatnonzero(labelled & timed)
    _require(rows, "labelled", table)
    mature = rows
    if maturity is not None:
        mature = rows[times[rows] <= times[rows].max() - maturity // _MICROSECOND]
        _require(mature, "labelled and mature", table)
    parts = _by_time(mature, times, spec) if by_time else _by_entity(mature, table, spec)
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        _require(part, name, table)
    train, validation, test = parts
    seen = times[np.concatenate([train, validation])] if needs_time else np.empty(0, np.int64)
    return Split(
        train=train,
        validation=validation,
        test=test,
        train_until=_moment(seen.max()) if seen.size else None,
        test_from=_moment(times[test].min()) if by_time else None,
        unlabelled=int(np.count_nonzero(~labelled)),
        immature=len(rows) - len(mature),
        embargoed=len(mature) - sum(len(part) for part in parts),
        untimed=int(np.count_nonzero(labelled & ~timed)),
    )


def _require(rows: Rows, kind: str, table: pa.Table) -> None:
    if len(rows) == 0:
        raise EmptyDataError(
            f"there are no {kind} rows",
            where="features",
            found=f"{table.num_rows} rows in all",
            expected=f"at least one {kind} row",
            fix="look at the label, `matures_after` and `evaluation.split`",
        )


def _times(table: pa.Table, column: str) -> Rows:
    """Microseconds since 1970 (UTC); the smallest integer where null."""
    import pyarrow as pa

    try:
        moments = table[column].cast(pa.timestamp("us", tz="UTC"))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            "the time column is no timestamp",
            where=f"features column {column}",
            found=table[column].type,
            expected="timestamp or date",
        ) from error
    values: Rows = moments.cast(pa.int64()).fill_null(np.iinfo(np.int64).min).to_numpy()
    return values


def _moment(microseconds: np.int64) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(microseconds))


def _by_time(rows: Rows, times: Rows, spec: ProjectSpec) -> tuple[Rows, Rows, Rows]:
    split, maturity = spec.evaluation.split, spec.features.label.matures_after
    moments = times[rows]
    if isinstance(split.test, timedelta):
        test_from = moments.max() - split.test // _MICROSECOND + 1
    else:
        test_from = _newest(moments, split.test)
    is_test = moments >= test_from
    known = moments[~is_test]
    if maturity is not None and known.size:
        first = moments[is_test].min() if is_test.any() else test_from
        usable = ~is_test & (moments <= first - maturity // _MICROSECOND)
    else:
        usable = ~is_test
    if not usable.any():
        return rows[usable], rows[usable], rows[is_test]
    is_validation = usable & (moments >= _newest(moments[usable], split.validation))
    return rows[usable & ~is_validation], rows[is_validation], rows[is_test]


def _newest(moments: Rows, share: float) -> np.int64:
    """The time from which on about this share of rows lies; rows of equal time stay together."""
    ordered = np.sort(moments)
    cut = min(len(ordered) - 1, max(1, round(len(ordered) * (1 - share))))
    moment = ordered[cut]
    if moment == ordered[0]:
        # All older rows share this moment: begin with the next one instead of leaving none.
        later = ordered[ordered > moment]
        return np.int64(later[0]) if later.size else np.int64(moment)
    return np.int64(moment)


def _by_entity(rows: Rows, table: pa.Table, spec: ProjectSpec) -> tuple[Rows, Rows, Rows]:
    """By a hash of the entity's text and the seed, the same on every machine."""
    import pandas as pd

    split = spec.evaluation.split
    test = cast(float, split.test)
    codes, names = text_codes(table, spec.features.entity, rows)
    key = f"{spec.training.seed:016d}"[-16:]
    texts = np.array(names, dtype=object)
    hashes = pd.util.hash_array(texts, hash_key=key, categorize=False).astype(np.float64)
    place = (hashes / _HASH_RANGE)[codes]
    is_test = place < test
    is_validation = ~is_test & (place < test + (1 - test) * split.validation)
    return rows[~is_test & ~is_validation], rows[is_validation], rows[is_test]
