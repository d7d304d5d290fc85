"""An ``EvaluationResult`` as rows of plain values, and as a short text: for any UI."""

from __future__ import annotations

from mlops_assets.config.metrics import METRICS
from mlops_assets.evaluation.decision import figure
from mlops_assets.evaluation.result import EvaluationResult

Row = dict[str, str | int | float | bool | None]

VERDICTS = {
    "promote": "promote",
    "reject": "reject",
    "blocked": "blocked",
    "insufficient_data": "insufficient data",
    "unchanged": "unchanged",
}


def rounded(value: float | None) -> float | None:
    """Four significant digits; whole numbers from 10,000 on."""
    if value is None:
        return None
    return float(round(value)) if abs(value) >= 10_000 else float(f"{value:.4g}")


def metric_rows(result: EvaluationResult) -> list[Row]:
    """One row for each metric, the primary one first."""
    old = result.champion_metrics
    names = sorted(result.metrics, key=lambda name: name != result.primary)
    rows: list[Row] = []
    for name in names:
        row: Row = {
            "metric": name,
            "value": rounded(result.metrics[name]),
            "better": "higher" if METRICS[name].goal == "increase" else "lower",
            "primary": name == result.primary,
        }
        if old is not None:
            row["live"] = rounded(old[name])
        rows.append(row)
    return rows


def gate_rows(result: EvaluationResult) -> list[Row]:
    """One row for each gate."""
    return [
        {
            "metric": gate["metric"],
            "value": rounded(gate["value"]),
            "min": gate["min"],
            "max": gate["max"],
            "passed": gate["passed"],
        }
        for gate in result.gates
    ]


def slice_rows(result: EvaluationResult) -> list[Row]:
    """One row for each slice: its size and the primary metric, beside the live model's."""
    primary = result.primary
    rows: list[Row] = []
    for part in result.slices:
        row: Row = {
            "column": part["column"],
            "value": part["value"],
            "rows": part["rows"],
            "share": round(part["share"], 4),
            primary: rounded(part["metrics"][primary]),
        }
        if result.champion_metrics is not None:
            old = part["champion_metrics"]
            row[f"live {primary}"] = rounded(old[primary]) if old else None
            row["difference"] = rounded(part["difference"])
        rows.append(row)
    return rows


def comparison_rows(result: EvaluationResult) -> list[Row]:
    """One row for each metric with both models' values; the primary one with its interval.

    Empty when there is no live model, or when it could not be scored.
    """
    old = result.champion_metrics
    if old is None:
        return []
    rows: list[Row] = []
    for name in sorted(result.metrics, key=lambda name: name != result.primary):
        new_value, old_value = result.metrics[name], old[name]
        known = new_value is not None and old_value is not None
        row: Row = {
            "metric": name,
            "challenger": rounded(new_value),
            "champion": rounded(old_value),
            "difference": rounded(_minus(new_value, old_value)) if known else None,
            "better": _better(name, new_value, old_value),
            "lower": None,
            "upper": None,
            "margin": None,
            "non_inferior": None,
        }
        compared = result.comparison
        if compared is not None and compared.metric == name:
            row |= {
                "lower": rounded(compared.lower),
                "upper": rounded(compared.upper),
                "margin": rounded(compared.margin),
                "non_inferior": compared.non_inferior,
            }
        rows.append(row)
    return rows


def summary(result: EvaluationResult) -> str:
    """The verdict, the reason and on what it rests, as Markdown."""
    lines = [f"**{VERDICTS[result.verdict]}** — {result.reason}", ""]
    lines.append(f"- test rows: {result.rows:,}{_period(result)}")
    left_out = [
        f"{count:,} {what}"
        for count, what in (
            (result.unlabelled, "without a label"),
            (result.immature, "whose labels are not final yet (pending)"),
        )
        if count
    ]
    if left_out:
        lines.append(f"- left out: {', '.join(left_out)}")
    if result.gates:
        kept = sum(bool(gate["passed"]) for gate in result.gates)
        lines.append(f"- gates kept: {kept} of {len(result.gates)}")
    lines += _comparison_lines(result)
    worst = _worst_slice(result)
    if worst:
        lines.append(worst)
    return "\n".join(lines)


def _comparison_lines(result: EvaluationResult) -> list[str]:
    c = result.comparison
    if c is None:
        return []
    return [
        f"- against the live model: {c.metric} {figure(c.difference, sign=True)}, between "
        f"{figure(c.lower, sign=True)} and {figure(c.upper, sign=True)} "
        f"({c.resamples:,} paired resamples of {c.units:,} units, each bound with "
        f"{c.confidence * 100:g} % confidence)"
    ]


def _worst_slice(result: EvaluationResult) -> str | None:
    """The slice in which the primary metric is worst, of those with enough rows to say."""
    goal = METRICS[result.primary].goal
    known = [
        (part["metrics"][result.primary], part)
        for part in result.slices
        if part["metrics"][result.primary] is not None and part["rows"] >= 30
    ]
    if not known:
        return None
    pick = min if goal == "increase" else max
    value, part = pick(known, key=lambda pair: pair[0])
    return (
        f"- worst slice of 30 rows or more: {part['column']} = {part['value']}, "
        f"{result.primary} {figure(value)} on {part['rows']:,} rows"
    )


def _period(result: EvaluationResult) -> str:
    if result.test_from is None or result.test_until is None:
        return ""
    return f", {result.test_from:%Y-%m-%d %H:%M} to {result.test_until:%Y-%m-%d %H:%M} UTC"


def _minus(new: float | None, old: float | None) -> float | None:
    return None if new is None or old is None else new - old


def _better(name: str, new: float | None, old: float | None) -> str | None:
    difference = _minus(new, old)
    if difference is None:
        return None
    if difference == 0:
        return "same"
    return "challenger" if (difference > 0) == (METRICS[name].goal == "increase") else "champion"
