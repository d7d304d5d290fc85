"""Every drift test: what it agrees with, and what it must never do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from mlops_assets.config.monitoring_rules import DRIFT_TESTS
from mlops_assets.drift.base import paired_counts, pooled
from mlops_assets.drift.compare import compare_columns, drifted_share
from mlops_assets.drift.psi import psi
from mlops_assets.drift.registry import choose_test, drift_tests
from mlops_assets.drift.window import profile_columns
from mlops_assets.errors import ConfigError
from mlops_assets.training.reference import categorical_profile, numeric_profile

ROWS = 20_000


def numeric_reference(values: np.ndarray) -> dict[str, Any]:
    return numeric_profile(values.astype(np.float32))


def text_reference(texts: list[str]) -> dict[str, Any]:
    names, counts = np.unique(texts, return_counts=True)
    return categorical_profile(names.tolist(), counts, names.tolist())


def compare(name: str, before: Any, now: Any) -> Any:
    """One test on raw values."""
    is_text = isinstance(before[0], str)
    reference = text_reference(before) if is_text else numeric_reference(before)
    window = profile_columns({"x": now}, {"x": reference})["x"]
    return drift_tests()[name].compare(reference, window)


def normal(seed: int, rows: int = ROWS, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, rows)


def letters(seed: int, weights: list[float], rows: int = ROWS) -> list[str]:
    random = np.random.default_rng(seed)
    return random.choice(list("abcd"), rows, p=weights).tolist()


def test_the_config_names_every_test_and_its_kinds() -> None:
    found = {name: test.kinds for name, test in drift_tests().items()}
    assert found == DRIFT_TESTS


PAIRS = [(name, kind) for name, kinds in sorted(DRIFT_TESTS.items()) for kind in sorted(kinds)]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
class TestEveryTest:
    def pair(self, kind: str, shifted: bool) -> tuple[Any, Any]:
        if kind == "numeric":
            return normal(0), normal(1, 5000, 1.0 if shifted else 0.0)
        weights = [0.1, 0.2, 0.3, 0.4] if shifted else [0.4, 0.3, 0.2, 0.1]
        return letters(0, [0.4, 0.3, 0.2, 0.1]), letters(1, weights, 5000)

    def test_a_large_shift_is_found(self, name: str, kind: str) -> None:
        found = compare(name, *self.pair(kind, shifted=True))
        assert found.effect >= drift_tests()[name].threshold
        assert found.p_value is not None
        assert found.p_value < 0.01

    def test_equal_distributions_are_close(self, name: str, kind: str) -> None:
        found = compare(name, *self.pair(kind, shifted=False))
        assert found.effect < drift_tests()[name].threshold
        assert found.p_value is not None
        assert found.p_value > 0.001

    def test_missing_values_are_found(self, name: str, kind: str) -> None:
        before, now = self.pair(kind, shifted=False)
        if kind == "numeric":
            now[:2500] = np.nan
        else:
            now = [None] * 2500 + list(now[2500:])
        found = compare(name, before, pa.array(now) if kind == "categorical" else now)
        assert found.effect >= drift_tests()[name].threshold
        assert found.p_value < 1e-6


def test_psi_by_hand() -> None:
    # (.5-.4)ln(.5/.4) + (.3-.4)ln(.3/.4) + (.2-.2)ln 1
    expected = 0.1 * math.log(1.25) - 0.1 * math.log(0.75)
    assert psi(np.array([400.0, 400, 200]), np.array([50.0, 30, 20])) == pytest.approx(expected)


def test_psi_stays_finite_with_empty_cells() -> None:
    assert math.isfinite(psi(np.array([100.0, 0]), np.array([0.0, 100])))


def test_kolmogorov_smirnov_agrees_with_scipy() -> None:
    for shift in (0.0, 0.1, 0.5):
        before, now = normal(0), normal(1, 3000, shift)
        expected = stats.ks_2samp(before, now)
        found = compare("kolmogorov_smirnov", before, now)
        assert found.effect == pytest.approx(expected.statistic, abs=0.003)
        if shift:
            assert found.p_value == pytest.approx(expected.pvalue, abs=0.01)


def test_wasserstein_agrees_with_scipy() -> None:
    before, now = normal(0) * 7 + 3, normal(1, 3000, 0.4) * 7 + 3
    expected = stats.wasserstein_distance(before, now) / before.std()
    assert compare("wasserstein", before, now).effect == pytest.approx(expected, abs=0.02)


def test_jensen_shannon_agrees_with_scipy() -> None:
    before, now = letters(0, [0.4, 0.3, 0.2, 0.1]), letters(1, [0.1, 0.2, 0.3, 0.4], 4000)
    counts = [np.unique(texts, return_counts=True)[1] for texts in (before, now)]
    expected = jensenshannon(counts[0], counts[1], base=2)
    assert compare("jensen_shannon", before, now).effect == pytest.approx(expected, abs=1e-9)


def test_chi_square_agrees_with_scipy() -> None:
    before, now = letters(0, [0.4, 0.3, 0.2, 0.1]), letters(1, [0.38, 0.32, 0.2, 0.1], 4000)
    counts = [np.unique(texts, return_counts=True)[1] for texts in (before, now)]
    expected = stats.chi2_contingency(np.array(counts), correction=False).pvalue
    assert compare("chi_square", before, now).p_value == pytest.approx(expected, rel=1e-9)


def test_new_categories_are_a_cell_of_their_own() -> None:
    reference = text_reference(["a"] * 50 + ["b"] * 50)
    window = profile_columns({"x": ["a"] * 5 + ["new"] * 15}, {"x": reference})["x"]
    before, now = paired_counts(reference, window)
    assert before.tolist() == [50, 50, 0]
    assert now.tolist() == [5, 0, 15]


def test_pooling_leaves_five_expected_in_each_cell() -> None:
    before, now = np.array([1000.0, 3, 2, 1]), np.array([100.0, 1, 1, 0])
    one, other = pooled(before, now)
    assert one.sum() == before.sum()
    assert other.sum() == now.sum()
    expected = (one + other) * min(one.sum(), other.sum()) / (one + other).sum()
    assert len(expected) == 1 or expected.min() >= 5


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.just(math.nan), min_size=1, max_size=40),
    st.lists(st.floats(-1e6, 1e6, width=32) | st.just(math.inf), min_size=1, max_size=40),
)
def test_numbers_of_any_kind_give_finite_answers(before: list[float], now: list[float]) -> None:
    reference = {"x": numeric_profile(np.array(before, dtype=np.float32))}
    window = profile_columns({"x": np.array(now, dtype=np.float32)}, reference)
    for name in ("psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein"):
        (found,) = compare_columns(reference, window, tests=name)
        if found.state != "insufficient":
            assert math.isfinite(found.effect or 0.0)
            assert 0 <= (found.p_value or 0.0) <= 1


def test_auto_goes_by_kind_and_cardinality() -> None:
    assert choose_test("numeric", 500).name == "kolmogorov_smirnov"
    assert choose_test("numeric", 3).name == "psi"
    assert choose_test("categorical", 5).name == "chi_square"
    assert choose_test("categorical", 500).name == "jensen_shannon"


def test_a_test_of_the_wrong_kind_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="chi_square"):
        choose_test("numeric", 5, "chi_square")


def columns(seed: int, rows: int, shifts: dict[str, float] | None = None) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        f"c{n}": random.normal((shifts or {}).get(f"c{n}", 0.0), 1, rows).astype(np.float32)
        for n in range(10)
    }


def reference_of(values: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: numeric_profile(column) for name, column in values.items()}


def test_false_alarms_stay_within_the_declared_rate() -> None:
    reference = reference_of(columns(0, 50_000))
    alarms = 0
    for seed in range(1, 101):
        window = profile_columns(columns(seed, 2000), reference)
        # By significance alone: without the threshold on the effect.
        found = compare_columns(reference, window, thresholds={"kolmogorov_smirnov": 1e-9})
        alarms += any(one.state == "drifted" for one in found)
    assert alarms <= 11  # 5 expected at most; P(> 11) < 0.5 %


def test_effect_and_significance_must_both_hold() -> None:
    reference = reference_of(columns(0, 100_000))
    window = profile_columns(columns(1, 100_000, {"c0": 0.05, "c1": 1.0}), reference)
    found = {one.column: one for one in compare_columns(reference, window)}
    assert (found["c0"].q_value or 1) < 0.05
    assert found["c0"].state == "stable"  # significant, and too small to matter
    assert found["c1"].state == "drifted"


def test_too_few_rows_are_insufficient_not_stable() -> None:
    reference = reference_of(columns(0, 5000))
    window = profile_columns(columns(1, 50), reference)
    states = {one.state for one in compare_columns(reference, window, min_rows=100)}
    assert states == {"insufficient"}


def test_a_column_that_the_window_lacks_is_missing() -> None:
    reference = reference_of(columns(0, 5000))
    window = profile_columns({"c1": columns(1, 500)["c1"]}, reference)
    states = {one.column: one.state for one in compare_columns(reference, window)}
    assert states["c0"] == "missing"
    assert states["c1"] == "stable"


def test_personal_columns_are_insufficient() -> None:
    reference = {"x": numeric_profile(np.arange(100, dtype=np.float32), is_pii=True)}
    window = profile_columns({"x": np.arange(100, dtype=np.float32)}, reference)
    assert "sample" not in window["x"]
    assert compare_columns(reference, window)[0].state == "insufficient"


def test_drift_weighs_as_much_as_its_columns_matter() -> None:
    reference = reference_of(columns(0, 5000))
    window = profile_columns(columns(1, 5000, {"c0": 2.0}), reference)
    importance = {f"c{n}": 0.7 if n == 0 else 0.3 / 9 for n in range(10)}
    weighted = compare_columns(reference, window, importance=importance)
    assert drifted_share(weighted) == pytest.approx(0.7)
    assert drifted_share(compare_columns(reference, window)) == pytest.approx(0.1)


def test_a_constant_column_does_not_drift_by_itself() -> None:
    constant = np.full(1000, 3.0, dtype=np.float32)
    reference = {"x": numeric_profile(constant)}
    same = profile_columns({"x": constant[:200]}, reference)
    moved = profile_columns({"x": constant[:200] + 1}, reference)
    assert compare_columns(reference, same)[0].state == "stable"
    assert compare_columns(reference, moved, tests="kolmogorov_smirnov")[0].state == "drifted"
