"""One YAML file per ML product becomes a running, self-retraining lifecycle of Dagster assets."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["MLProject", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the component only when Dagster asks for it: engine parts must stay cheap to import.

    Raises:
        AttributeError: There is no such name.
    """
    if name == "MLProject":
        return importlib.import_module("mlops_assets.component").MLProject
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
