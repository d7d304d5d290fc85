"""Both models' predictions of the same test rows, or why the champion has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.evaluation.overlap import entity_split_problem, says_until

if TYPE_CHECKING:
    from mlops_assets.training.bundle import Bundle

Array = NDArray[Any]


@dataclass(frozen=True)
class Evidence:
    """Labels and predictions of the test rows.

    Attributes:
        labels: As in ``metrics.compute_metrics``.
        challenger: The evaluated model's predictions, or ``None`` when they are not usable.
        champion: The live model's, or ``None``.
        challenger_problem: Why the evaluated model's predictions are not usable.
        champion_problem: Why the live model has none.
        classes: Every class that a model or a label names; a model gives those it does not know
            the probability 0.
        groups: Number of each row's entity where entities have several rows, else ``None``.
        is_live: Whether the evaluated model is the live one.
    """

    labels: Array
    challenger: Array | None
    champion: Array | None = None
    challenger_problem: str | None = None
    champion_problem: str | None = None
    classes: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None
    is_live: bool = False


def gather(
    project: Project,
    test: pa.Table,
    bundle: Bundle,
    champion: Bundle | None,
    champion_problem: str | None,
) -> Evidence:
    """Score the test rows with both models, from the same raw values.

    The champion is not scored again when it is the evaluated bundle, and not when it is known to
    be unavailable, to need a column that is not there, or to have been trained by a split that
    may share entities with the test rows.
    """
    from mlops_assets.training.scoring import score

    labels = _labels(test, project)
    is_live = champion is not None and champion.id == bundle.id
    if test.num_rows == 0:
        return Evidence(labels, None, champion_problem=champion_problem, is_live=is_live)
    prediction: Array = np.asarray(score(bundle, test))
    unusable = _not_finite(prediction)
    old, problem = prediction, champion_problem
    if champion is None or unusable:
        champion = None
    elif not is_live:
        old, problem = _score_champion(project, test, champion)
    scored = [bundle, champion] if champion and problem is None else [bundle]
    classes = _all_classes(project, labels, scored)
    return Evidence(
        labels=labels,
        challenger=None if unusable else _aligned(prediction, bundle.schema.classes, classes),
        champion=_aligned(old, champion.schema.classes, classes)
        if champion and problem is None
        else None,
        challenger_problem=unusable,
        champion_problem=problem,
        classes=classes,
        groups=entity_groups(test[project.spec.features.entity]),
        is_live=is_live,
    )


def _score_champion(project: Project, test: pa.Table, champion: Bundle) -> tuple[Array, str | None]:
    """The live model's predictions, or why there are none that could be compared."""
    from mlops_assets.training.scoring import score

    nothing: Array = np.empty(0)
    problem = champion_problem_of(project, test, champion)
    if problem:
        return nothing, problem
    try:
        prediction: Array = np.asarray(score(champion, test))
    except MlopsError as error:
        return nothing, f"it cannot be scored on these rows: {error.problem}"
    return prediction, _not_finite(prediction)


def champion_problem_of(project: Project, test: pa.Table, champion: Bundle) -> str | None:
    """What keeps the live model from a fair comparison on these rows, if anything does."""
    if champion.schema.task != project.spec.task:
        return f"it was trained for {champion.schema.task}, not {project.spec.task}"
    missing = [i.name for i in champion.schema.inputs if i.name not in test.column_names]
    if missing:
        return f"it needs columns that the features no longer have: {', '.join(missing[:10])}"
    if project.spec.evaluation.split.by == "time" and not says_until(champion):
        return "it does not say until when it was trained, so it may have seen test rows"
    if project.spec.evaluation.split.by == "entity":
        trained = entity_split_problem(project, champion)
        return f"it {trained}, so test rows may be among its training rows" if trained else None
    return None


def entity_groups(entities: pa.ChunkedArray) -> NDArray[np.int64] | None:
    """Group number of each row by entity; ``None`` when every row is an entity of its own."""
    encoded = entities.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    known = len(encoded.dictionary)
    unknown = codes < 0
    if known + int(unknown.sum()) == len(codes):
        return None
    codes[unknown] = known + np.arange(int(unknown.sum()))
    groups: NDArray[np.int64] = codes
    return groups


def _labels(test: pa.Table, project: Project) -> Array:
    column = test[project.spec.features.label.column]
    if project.spec.task == "multiclass":
        return np.asarray(column.to_pylist(), dtype=object)
    labels: Array = column.to_numpy()
    return labels


def _all_classes(project: Project, labels: Array, bundles: Sequence[Bundle]) -> tuple[str, ...]:
    if project.spec.task != "multiclass":
        return ()
    named = [str(name) for bundle in bundles for name in bundle.schema.classes or ()]
    return tuple(dict.fromkeys([*named, *np.unique(labels.astype(str)).tolist()]))


def _aligned(p: Array, known: Sequence[str] | None, classes: tuple[str, ...]) -> Array:
    if not classes or tuple(known or ()) == classes:
        return p
    wide = np.zeros((len(p), len(classes)), dtype=p.dtype)
    wide[:, [classes.index(str(name)) for name in known or ()]] = p
    return wide


def _not_finite(p: Array) -> str | None:
    bad = int((~np.isfinite(p)).reshape(len(p), -1).any(axis=1).sum())
    return f"{bad:,} of its {len(p):,} predictions are not finite" if bad else None
