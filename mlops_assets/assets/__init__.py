"""Thin Dagster wrappers: each asset fetches its inputs, calls the core and reports."""

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.project import build_project_definitions

__all__ = ["PlatformResource", "build_project_definitions"]
