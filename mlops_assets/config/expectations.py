"""``checks:`` Great Expectations, in their own names and arguments."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from mlops_assets.config.base import Spec
from mlops_assets.config.expectation_catalogue import columns_of, find_problems
from mlops_assets.config.problems import FieldProblems

MAX_NAME = 100


class ExpectationSpec(Spec):
    """One expectation. Every further key is an argument of the expectation itself."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    type: str = Field(pattern=r"^expect_[a-z0-9_]+$")
    """Name of a Great Expectations core expectation, such as
    ``expect_column_values_to_not_be_null``."""
    severity: Literal["error", "warn"] = "error"
    """``error`` blocks everything downstream, ``warn`` only shows."""
    name: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$", max_length=80)
    """Name of the asset check; made from type and column when not given."""

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the expectation, as written."""
        return dict(self.model_extra or {})

    @property
    def columns(self) -> set[str]:
        """Columns that must exist for the expectation to be evaluated."""
        return columns_of(self.type, self.arguments)

    @property
    def check_name(self) -> str:
        """Name of the Dagster asset check: letters, digits and underscores."""
        if self.name:
            return self.name
        arguments = self.arguments
        columns = [arguments.get(key) for key in ("column", "column_A", "column_B")]
        columns += list(arguments.get("column_list") or [])
        words = [self.type.removeprefix("expect_"), *(str(c) for c in columns if c)]
        return _bounded(re.sub(r"\W", "_", "__".join(words), flags=re.ASCII))

    @model_validator(mode="after")
    def _known_to_great_expectations(self) -> ExpectationSpec:
        problems = find_problems(self.type, self.arguments)
        if problems:
            raise FieldProblems(problems)
        return self


def unique_check_names(expectations: Sequence[ExpectationSpec]) -> list[str]:
    """One name for each expectation; further ones of the same name get ``_2``, ``_3`` …

    The order of the YAML decides, so names stay as they are when expectations are appended.
    """
    taken = {expectation.check_name for expectation in expectations}
    used: set[str] = set()
    names = []
    for expectation in expectations:
        name, number = expectation.check_name, 1
        while name in used or (number > 1 and name in taken):
            number += 1
            name = f"{expectation.check_name}_{number}"
        used.add(name)
        names.append(name)
    return names


def _bounded(name: str) -> str:
    """The name, past :data:`MAX_NAME` characters cut and kept unique by a digest."""
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME - 9]}_{digest}"
