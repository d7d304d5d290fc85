"""What came out of one expectation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mlops_assets.config.expectation_catalogue import describe
from mlops_assets.config.expectations import ExpectationSpec
from mlops_assets.quality.privacy import hide_arguments


@dataclass(frozen=True)
class ExpectationResult:
    """An immutable answer, with no value of a column marked ``pii``.

    Attributes:
        spec: The expectation, as written.
        check_name: Unique among the expectations that were validated together.
        passed: Whether the data met the expectation.
        observed: What was measured, as plain JSON values; None for expectations about rows, which
            have counts instead.
        unexpected_count: Rows (or distinct values) that were not as expected.
        unexpected_percent: Their share of the rows that were judged, 0 to 100.
        element_count: Rows that the expectation looked at.
        missing_count: Rows among them that were not judged, because the value is missing.
        unexpected_sample: At most ten unexpected rows.
        error: Why the expectation could not be evaluated; then it has not passed.
        note: What a reader should know about a result that is right and easily misread.
        private: The expectation reads a column marked ``pii``.
    """

    spec: ExpectationSpec
    check_name: str
    passed: bool
    observed: Any = None
    unexpected_count: int | None = None
    unexpected_percent: float | None = None
    element_count: int | None = None
    missing_count: int | None = None
    unexpected_sample: tuple[dict[str, Any], ...] = ()
    error: str | None = None
    note: str | None = None
    private: bool = False

    @property
    def blocking(self) -> bool:
        """Whether this result stops everything downstream."""
        return not self.passed and self.spec.severity == "error"

    @property
    def arguments(self) -> dict[str, Any]:
        """The expectation's arguments, without values of private columns."""
        return hide_arguments(self.spec.arguments) if self.private else self.spec.arguments

    @property
    def expected(self) -> str:
        """The expectation in words."""
        return describe(self.spec.type, self.arguments)

    @property
    def found(self) -> str:
        """What was there, in words."""
        if self.error is not None:
            return f"not evaluated: {self.error}"
        parts = []
        if self.observed is not None:
            parts.append(f"observed {self.observed}")
        if self.unexpected_count is not None:
            parts.append(self._counts())
        if self.note:
            parts.append(self.note)
        return "; ".join(parts) or ("as expected" if self.passed else "not as expected")

    def _counts(self) -> str:
        of = "" if self.element_count is None else f" of {self.element_count:,}"
        share = "" if self.unexpected_percent is None else f" ({self.unexpected_percent:.4g} %)"
        return f"{self.unexpected_count:,} unexpected{of}{share}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values that :meth:`from_dict` reads back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "spec": self.spec.model_dump(mode="json"),
            "unexpected_sample": list(self.unexpected_sample),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ExpectationResult:
        """Read what :meth:`to_dict` gave."""
        return cls(
            **{
                **values,
                "spec": ExpectationSpec.model_validate(values["spec"]),
                "unexpected_sample": tuple(values["unexpected_sample"]),
            }
        )
