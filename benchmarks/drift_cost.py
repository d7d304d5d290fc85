"""Drift of a window of 1,000,000 rows and 20 columns: from a profile, and with Evidently."""

from __future__ import annotations

import importlib.util
import time
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report import Report

ROWS = 1_000_000
NUMERIC = tuple(f"n{index}" for index in range(16))
TEXT = tuple(f"t{index}" for index in range(4))
SHIFTED = ("n0", "n1", "n2", "t0")
THRESHOLD = 0.2
ROUNDS = 3


def run() -> Report:
    """Both on the same data in one process, in turns; PSI with the same threshold."""
    if importlib.util.find_spec("evidently") is None:
        raise SystemExit("drift_cost needs Evidently: install the extra `compare`")
    reference, window = frame(0, shifted=False), frame(1, shifted=True)
    ours, theirs, ratios = [], [], []
    for _ in range(ROUNDS):
        seconds, drifted = by_profile(reference, window)
        other_seconds, other = by_evidently(reference, window)
        ours.append(seconds)
        theirs.append(other_seconds)
        ratios.append(other_seconds / seconds)
    same = "the same verdicts" if drifted == other else f"other verdicts ({sorted(other)})"
    text = (
        f"{ROWS:,} rows, {len(NUMERIC)} numeric and {len(TEXT)} text columns, {len(SHIFTED)} of "
        f"them shifted; PSI ≥ {THRESHOLD}; medians of {ROUNDS} rounds. The engine compares "
        "with the profile that is in the model bundle and needs no reference rows; Evidently gets "
        f"as many reference rows. Drifted: {', '.join(sorted(drifted))}; Evidently gives {same}. "
        f"Ratio: {np.median(ratios):.0f} x."
    )
    rows = [
        {"way": "engine, every row", "seconds": round(float(np.median(ours)), 2)},
        {"way": "Evidently, data drift preset", "seconds": round(float(np.median(theirs)), 2)},
    ]
    return Report("Drift of a large window", text, rows)


def frame(seed: int, *, shifted: bool) -> pd.DataFrame:
    """Normal, skewed and heavier-tailed numbers, and texts with 5 to 40 values."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for index, name in enumerate(NUMERIC):
        values = (random.normal, random.exponential, random.logistic)[index % 3](size=ROWS)
        columns[name] = values + (1.0 if shifted and name in SHIFTED else 0.0)
    for index, name in enumerate(TEXT):
        count = (5, 10, 20, 40)[index]
        weights = np.arange(1, count + 1, dtype=float)
        if shifted and name in SHIFTED:
            weights = weights[::-1]
        names = np.array([f"value {number}" for number in range(count)], dtype=object)
        columns[name] = random.choice(names, ROWS, p=weights / weights.sum())
    return pd.DataFrame(columns)


def by_profile(reference: pd.DataFrame, window: pd.DataFrame) -> tuple[float, set[str]]:
    """The engine: the reference is profiled when the model is trained, which is not timed."""
    import pyarrow as pa

    from mlops_assets.drift.compare import compare_columns
    from mlops_assets.drift.window import profile_columns
    from mlops_assets.training.reference import categorical_profile, numeric_profile

    profiles = {name: numeric_profile(reference[name].to_numpy(np.float32)) for name in NUMERIC}
    for name in TEXT:
        counts = reference[name].value_counts()
        profiles[name] = categorical_profile(
            counts.index.tolist(), counts.to_numpy(), counts.index.tolist()
        )
    table = pa.Table.from_pandas(window, preserve_index=False)
    began = time.perf_counter()
    columns = {name: table[name] for name in (*NUMERIC, *TEXT)}
    found = compare_columns(
        profiles, profile_columns(columns, profiles), tests="psi", thresholds={"psi": THRESHOLD}
    )
    seconds = time.perf_counter() - began
    return seconds, {one.column for one in found if one.state == "drifted"}


def by_evidently(reference: pd.DataFrame, window: pd.DataFrame) -> tuple[float, set[str]]:
    """Evidently's preset on the same rows."""
    from evidently import DataDefinition, Dataset
    from evidently import Report as EvidentlyReport
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=list(NUMERIC), categorical_columns=list(TEXT))
    current = Dataset.from_pandas(window, definition)
    known = Dataset.from_pandas(reference, definition)
    began = time.perf_counter()
    preset = DataDriftPreset(method="psi", threshold=THRESHOLD)
    metrics = EvidentlyReport([preset]).run(current, known).dict()["metrics"]
    seconds = time.perf_counter() - began
    found = set()
    for metric in metrics:
        name = str(metric.get("metric_name", metric.get("metric_id", "")))
        if name.startswith("ValueDrift") and float(metric["value"]) >= THRESHOLD:
            found.add(name.partition("column=")[2].partition(",")[0])
    return seconds, found
