"""What a deployment or a rollback reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DeploymentResult:
    """The state after a deployment or a rollback.

    Attributes:
        version: The live version.
        bundle_id: Its content.
        champion_before: The version that was live before, if any.
        loaded: Versions that serve now, newest first.
        unchanged: Whether that bundle was live already.
        predict_url: Where clients send rows.
        model_url: The model's own description.
        curl: A request that can be pasted.
        golden: Comparison of the served golden rows with torch and ONNX Runtime.
        ledger_rows: The ledger's newest entries, newest first.
        seconds: How long it took.
    """

    version: int
    bundle_id: str
    champion_before: int | None
    loaded: tuple[int, ...]
    unchanged: bool
    predict_url: str
    model_url: str
    curl: str
    golden: dict[str, Any] = field(default_factory=dict)
    ledger_rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
