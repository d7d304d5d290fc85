"""``checks:`` Great Expectations, in their own names and arguments."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from mlops_assets.config.base import Spec


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
    def check_name(self) -> str:
        """Name of the Dagster asset check."""
        if self.name:
            return self.name
        arguments = self.arguments
        columns = [arguments.get(key) for key in ("column", "column_A", "column_B")]
        columns += list(arguments.get("column_list") or [])
        words = [self.type.removeprefix("expect_"), *(str(c) for c in columns if c)]
        return "__".join(words)

    @model_validator(mode="after")
    def _known_to_great_expectations(self) -> ExpectationSpec:
        from mlops_assets.config.expectation_catalogue import find_problem

        problem = find_problem(self.type, self.arguments)
        if problem:
            raise ValueError(problem)
        return self
