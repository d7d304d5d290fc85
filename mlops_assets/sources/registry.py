"""Kinds of sources, found by file name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any, cast

import mlops_assets.sources as package
from mlops_assets.errors import ConfigError
from mlops_assets.sources.base import Source


def source_for(spec: Any) -> Source:
    """The source that a spec's ``type`` names.

    Raises:
        ConfigError: There is none.
    """
    sources = _sources()
    if spec.type not in sources:
        raise ConfigError(
            "unknown source", found=spec.type, expected=f"one of {', '.join(sources)}"
        )
    return sources[spec.type]


def source_types() -> tuple[str, ...]:
    """All kinds of sources."""
    return tuple(_sources())


@cache
def _sources() -> dict[str, Source]:
    found = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        if hasattr(module, "SOURCE"):
            found[module_info.name] = cast(Source, module.SOURCE)
    return dict(sorted(found.items()))
