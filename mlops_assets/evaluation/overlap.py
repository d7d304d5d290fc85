"""No model is judged on rows that it has learned from.

What is known of a model's training rows is in its bundle: how they were divided, and how new the
newest was. What is known of the table at hand are the rows themselves. Both are checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from mlops_assets.config.evaluation import SplitSpec
from mlops_assets.config.project import Project
from mlops_assets.errors import EvaluationError

if TYPE_CHECKING:
    from mlops_assets.training.bundle import Bundle
    from mlops_assets.training.split import Split

_SIDE = "__side"


def refuse_overlap(
    project: Project, bundle: Bundle, table: pa.Table, split: Split, champion: Bundle | None
) -> None:
    """Check that neither model has seen a test row.

    With ``by: time`` every test row must be newer than the newest row that a model was fitted or
    early-stopped on; a live model that does not say is left to the comparison, which refuses it.
    With ``by: entity`` no entity may be on both sides. In both cases no row and
    no pair of entity and time may be on both sides.

    Raises:
        EvaluationError: Rows overlap, or it cannot be known that they do not.
    """
    where = f"{project.id} evaluation"
    _refuse_shared_rows(split, where)
    _refuse_shared_keys(project, table, split, where)
    if project.spec.evaluation.split.by == "entity":
        problem = entity_split_problem(project, bundle)
        if problem:
            raise EvaluationError(
                f"the model {problem}, so test rows may be among its training rows",
                where=where,
                fix="materialize `model` again",
            )
        return
    if len(split.test) == 0:
        return
    oldest = oldest_time(table[project.spec.features.time].take(pa.array(split.test)), where)
    _refuse_newer_training(bundle, "the model", oldest, where, "materialize `model` again")
    if champion is not None and champion.id != bundle.id and says_until(champion):
        _refuse_newer_training(
            champion,
            "the live model",
            oldest,
            where,
            "wait for newer rows, shorten evaluation.split.test, or roll back to an older version",
        )


def entity_split_problem(project: Project, bundle: Bundle) -> str | None:
    """Why a model's training entities may differ from today's, if they may.

    Entities are assigned by a hash that depends on the rule, the fraction and the seed.
    """
    evaluation = bundle.config.get("evaluation") or {}
    training = bundle.config.get("training") or {}
    spec = project.spec
    try:
        was = SplitSpec.model_validate(evaluation.get("split") or {})
    except ValidationError:
        return "does not say by which split it was trained"
    seed = training.get("seed", type(spec.training)().seed)
    now = spec.evaluation.split
    entity = (bundle.config.get("features") or {}).get("entity", spec.features.entity)
    before = (was.by, was.test, seed, entity)
    wanted = (now.by, now.test, spec.training.seed, spec.features.entity)
    if before == wanted:
        return None
    return f"was trained with another split ({_told(*before)}; now {_told(*wanted)})"


def oldest_time(times: pa.ChunkedArray, where: str) -> datetime:
    """The oldest of the test rows' times, in UTC.

    Raises:
        EvaluationError: A time is missing, so that its row cannot be shown to be new.
    """
    if times.null_count:
        raise EvaluationError(
            f"{times.null_count:,} test rows have no time",
            where=where,
            fix="filter rows without a time in the query",
        )
    return as_utc(pc.min(pc.cast(times, pa.timestamp("us", _zone(times.type)))).as_py())


def as_utc(moment: datetime) -> datetime:
    """A moment with its zone; times without one are UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _zone(kind: pa.DataType) -> str | None:
    return kind.tz if pa.types.is_timestamp(kind) else None


def _told(by: str, test: object, seed: object, entity: str) -> str:
    return f"by {by}, test {test}, seed {seed}, entity {entity}"


def _refuse_shared_rows(split: Split, where: str) -> None:
    seen = np.concatenate([split.train, split.validation])
    shared = np.intersect1d(seen, split.test)
    if len(shared):
        raise EvaluationError(
            f"{len(shared):,} rows are both training and test rows",
            where=where,
            expected="each row on one side",
        )


def _refuse_shared_keys(project: Project, table: pa.Table, split: Split, where: str) -> None:
    features = project.spec.features
    by_entity = project.spec.evaluation.split.by == "entity"
    keys = [features.entity] if by_entity else [features.entity, features.time]
    seen = np.concatenate([split.train, split.validation])
    shared = _shared_keys(table.select(keys), seen, split.test)
    if shared:
        raise EvaluationError(
            f"{shared:,} {' and '.join(keys)} values have rows among the training and the test "
            "rows",
            where=where,
            expected="each on one side",
            fix=f"make {', '.join(keys)} unique in the query",
        )


def _shared_keys(keys: pa.Table, seen: np.ndarray[Any, Any], test: np.ndarray[Any, Any]) -> int:
    """How many keys without a missing part occur on both sides."""
    rows = pa.array(np.concatenate([seen, test]))
    side = np.r_[np.zeros(len(seen), dtype=np.int8), np.ones(len(test), dtype=np.int8)]
    names: Sequence[str] = keys.column_names
    both = keys.take(rows).append_column(_SIDE, pa.array(side)).drop_null()
    grouped = both.group_by(list(names)).aggregate([(_SIDE, "min"), (_SIDE, "max")])
    differs = pc.not_equal(grouped[f"{_SIDE}_min"], grouped[f"{_SIDE}_max"])
    return int(pc.sum(differs).as_py() or 0)


def says_until(bundle: Bundle) -> bool:
    """Whether a bundle says how new its newest training row was; by entity it need not."""
    return bundle.split.get("train_until") is not None


def _refuse_newer_training(
    bundle: Bundle, who: str, oldest: datetime, where: str, fix: str
) -> None:
    if not says_until(bundle):
        raise EvaluationError(f"{who} does not say until when it was trained", where=where, fix=fix)
    until = as_utc(datetime.fromisoformat(bundle.split["train_until"]))
    if oldest <= until:
        raise EvaluationError(
            f"{who} was trained on rows as new as the test rows",
            where=where,
            found=f"trained until {until.isoformat()}, test rows from {oldest.isoformat()}",
            expected="test rows later than every training row",
            fix=fix,
        )
