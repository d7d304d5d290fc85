"""From evidence to verdict, and the sentence that says why. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_assets.config.evaluation import EvaluationSpec
from mlops_assets.evaluation.compare import Comparison
from mlops_assets.evaluation.result import Verdict


@dataclass(frozen=True)
class Facts:
    """What the decision rests on.

    Attributes:
        spec: The rules.
        primary: The metric that decides.
        rows: Test rows.
        immature: Rows whose labels are not final yet.
        metrics: The evaluated model's.
        gates: As in ``EvaluationResult``.
        problem: Why the model's predictions are not usable.
        is_live: Whether the evaluated model is the live one.
        has_champion: Whether anything is live.
        champion_version: The live model's version, when known.
        champion_problem: Why it cannot be compared with.
        comparison: With the live model, when it could be made.
    """

    spec: EvaluationSpec
    primary: str
    rows: int
    immature: int
    metrics: Mapping[str, float | None]
    gates: Sequence[Mapping[str, Any]]
    problem: str | None = None
    is_live: bool = False
    has_champion: bool = False
    champion_version: int | None = None
    champion_problem: str | None = None
    comparison: Comparison | None = None


def decide(facts: Facts) -> tuple[Verdict, str]:
    """The verdict and its reason; the first rule that applies decides.

    1. Too few rows: ``insufficient_data``.
    2. Predictions that are not finite: ``reject``.
    3. A primary metric that is not defined on the rows: ``insufficient_data``.
    4. A failed gate: ``reject``.
    5. The live model itself: ``unchanged``.
    6. Nothing live: ``promote``.
    7. The live model cannot be compared with: ``blocked``, unless the spec says ``promote``.
    8. Otherwise the comparison decides.
    """
    if facts.rows < facts.spec.min_rows:
        return "insufficient_data", _too_few(facts)
    if facts.problem:
        return "reject", f"The model is broken: {facts.problem}."
    if facts.metrics.get(facts.primary) is None:
        return "insufficient_data", (
            f"{facts.primary} is not defined on the {facts.rows:,} test rows, so nothing can be "
            "said; a class may be missing among them."
        )
    failed = [gate for gate in facts.gates if not gate["passed"]]
    if failed:
        return "reject", _gates_failed(facts, failed)
    if facts.is_live:
        return "unchanged", f"This is the live model{_version(facts)}: {_score(facts)}."
    if facts.champion_problem:
        return _without_champion(facts, facts.champion_problem)
    if facts.comparison is not None:
        return _compared(facts, facts.comparison)
    if not facts.has_champion:
        return "promote", f"Nothing is live yet{_gates_kept(facts)}: {_score(facts)}."
    return _without_champion(facts, f"its {facts.primary} is not defined on these rows")


def figure(value: float | None, sign: bool = False) -> str:
    """A number for people: four significant digits, a real minus sign."""
    if value is None:
        return "undefined"
    plus = "+" if sign else ""
    text = f"{value:{plus},.0f}" if abs(value) >= 10_000 else f"{value:{plus}.4g}"
    return text.replace("-", "−")


def _too_few(facts: Facts) -> str:
    text = (
        f"Only {facts.rows:,} labelled test rows where evaluation.min_rows asks for "
        f"{facts.spec.min_rows:,}"
    )
    if facts.immature:
        return f"{text}; pending: {facts.immature:,} newer rows wait for their labels to mature."
    return f"{text}."


def _gates_failed(facts: Facts, failed: Sequence[Mapping[str, Any]]) -> str:
    parts = [_gate_text(gate) for gate in failed]
    live = " (this is the live model)" if facts.is_live else ""
    return f"{'; '.join(parts)}, on {facts.rows:,} test rows{live}."


def _gate_text(gate: Mapping[str, Any]) -> str:
    name, value = gate["metric"], gate["value"]
    if value is None:
        return f"{name} is not defined, so its gate is not kept"
    if gate["min"] is not None and value < gate["min"]:
        return f"{name} {figure(value)} is below its gate's minimum {figure(gate['min'])}"
    return f"{name} {figure(value)} is above its gate's maximum {figure(gate['max'])}"


def _gates_kept(facts: Facts) -> str:
    count = len(facts.gates)
    if not count:
        return ""
    return " and the gate is kept" if count == 1 else f" and all {count} gates are kept"


def _score(facts: Facts) -> str:
    return f"{facts.primary} {figure(facts.metrics[facts.primary])} on {facts.rows:,} test rows"


def _version(facts: Facts) -> str:
    return "" if facts.champion_version is None else f" (version {facts.champion_version})"


def _without_champion(facts: Facts, problem: str) -> tuple[Verdict, str]:
    text = f"The live model{_version(facts)} cannot be compared with: {problem}"
    if facts.spec.promote_if.if_champion_unavailable == "promote":
        return "promote", (
            f"{text}; promoted all the same, as if_champion_unavailable says: {_score(facts)}."
        )
    return "blocked", (
        f"{text}; nothing is promoted without a comparison. Make it comparable (keep what it needs "
        "until the new model is live), set promote_if.if_champion_unavailable to promote, or take "
        "it offline with `mlops retire`."
    )


def _compared(facts: Facts, comparison: Comparison) -> tuple[Verdict, str]:
    c = comparison
    confidence = f"{c.confidence * 100:g} % confidence"
    text = (
        f"{c.metric} {figure(c.challenger)} against the live model's {figure(c.champion)}"
        f"{_version(facts)} on the same {facts.rows:,} rows: {figure(c.difference, sign=True)}"
    )
    if c.worst is None:
        return "insufficient_data", (
            f"{text}, but {c.metric} is not defined in {c.undefined:,} of {c.resamples:,} "
            f"resamples, which leaves no {confidence}."
        )
    side, margin = ("at least", -c.margin) if c.goal == "increase" else ("at most", c.margin)
    bound = f"with {confidence} {side} {figure(c.worst, sign=True)}"
    if c.non_inferior:
        return "promote", f"{text}, {bound}, within the margin of {figure(margin, sign=True)}."
    return "reject", f"{text}, {bound}, beyond the margin of {figure(margin, sign=True)}."
