"""Expectations as Dagster asset checks: one check for each, results with their evidence."""

from mlops_assets.checks.results import build_check_results
from mlops_assets.checks.specs import CHECK_PREFIX, build_check_specs

__all__ = ["CHECK_PREFIX", "build_check_results", "build_check_specs"]
