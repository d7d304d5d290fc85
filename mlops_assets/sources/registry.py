"""Kinds of sources, found by file name.

A module that defines ``SOURCE`` is read whole; one that defines ``INCREMENTAL`` in slices. Where
one defines both, the spec's ``slices`` decides.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any, cast

import mlops_assets.sources as package
from mlops_assets.errors import ConfigError
from mlops_assets.sources.base import Source
from mlops_assets.sources.incremental import IncrementalSource


def source_for(spec: Any) -> Source:
    """The source that a spec's ``type`` names.

    Raises:
        ConfigError: There is none.
    """
    sources = _sources()
    if spec.type not in sources:
        raise ConfigError(
            "unknown source", found=spec.type, expected=f"one of {', '.join(source_types())}"
        )
    return sources[spec.type]


def incremental_source_for(spec: Any) -> IncrementalSource:
    """The source that a spec's ``type`` names, which is taken in slices.

    Raises:
        ConfigError: It is not taken in slices.
    """
    sources = _incremental()
    if spec.type not in sources or spec.slices is None:
        raise ConfigError(
            "not a source that is taken in slices",
            found=spec.type,
            expected=f"one of {', '.join(sources)}",
        )
    return sources[spec.type]


def source_types() -> tuple[str, ...]:
    """All kinds of sources."""
    return tuple(sorted({*_sources(), *_incremental()}))


@cache
def _sources() -> dict[str, Source]:
    return cast(dict[str, Source], _found("SOURCE"))


@cache
def _incremental() -> dict[str, IncrementalSource]:
    return cast(dict[str, IncrementalSource], _found("INCREMENTAL"))


def _found(attribute: str) -> dict[str, Any]:
    """What the package's modules define under a name, by module."""
    found = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        if hasattr(module, attribute):
            found[module_info.name] = getattr(module, attribute)
    return dict(sorted(found.items()))
