"""Drift tests, found by file name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import mlops_assets.drift as package
from mlops_assets.drift.base import DriftTest
from mlops_assets.errors import ConfigError

FEW_VALUES = 10
"""A numeric column with fewer distinct quantiles than this is compared by its bins."""


@cache
def drift_tests() -> dict[str, DriftTest]:
    """Every univariate test by its name."""
    found: dict[str, DriftTest] = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        test = getattr(module, "TEST", None)
        if isinstance(test, DriftTest):
            found[test.name] = test
    return dict(sorted(found.items()))


def choose_test(kind: str, distinct: int, name: str = "auto") -> DriftTest:
    """The test for a column.

    ``auto`` takes ``chi_square`` for categories, up to 50 of them, and ``jensen_shannon`` for
    more; ``kolmogorov_smirnov`` for numbers, and ``psi`` for numbers with few distinct values.

    Args:
        kind: ``numeric`` or ``categorical``.
        distinct: Distinct values of the reference, as far as they are known.
        name: A test's name or ``auto``.

    Raises:
        ConfigError: There is no such test, or it does not fit the kind.
    """
    tests = drift_tests()
    if name == "auto":
        if kind == "categorical":
            name = "chi_square" if distinct <= 50 else "jensen_shannon"
        else:
            name = "psi" if distinct < FEW_VALUES else "kolmogorov_smirnov"
    test = tests.get(name)
    if test is None or kind not in test.kinds:
        fitting = [one.name for one in tests.values() if kind in one.kinds]
        raise ConfigError(
            f"no drift test of that name for a {kind} column",
            found=name,
            expected=f"auto or one of {', '.join(fitting)}",
        )
    return test
