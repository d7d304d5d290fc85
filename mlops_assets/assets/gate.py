"""The quality gate of a data asset: expectations before publication, results as Dagster checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.checks import build_check_results
from mlops_assets.config.project import FEATURES, Project
from mlops_assets.errors import QualityError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from mlops_assets.quality.runner import ExpectationResult
    from resources.manifest import Manifest

RESULTS = "expectation_results"
"""Where a manifest's metadata keep the verdicts under which its data were published."""


class QualityGate:
    """Runs one target's expectations and remembers what came out.

    Args:
        project: The project.
        target: A source name, or ``features``.
        key: The asset that the checks belong to.
    """

    def __init__(self, project: Project, target: str, key: dg.AssetKey) -> None:
        self.project = project
        self.target = target
        self.key = key
        self.expectations = project.spec.checks.get(target, ())
        self.results: list[ExpectationResult] = []
        self.failure: QualityError | None = None

    def check(self, frame: DataFrame, _profile: Any) -> dict[str, Any]:
        """Validate data that are about to be published.

        Returns:
            Metadata for the manifest.

        Raises:
            QualityError: An expectation with severity ``error`` failed.
        """
        from mlops_assets.quality.runner import raise_for_errors, validate

        where = f"{self.project.id} {self.target}"
        if self.expectations:
            self.results = validate(frame, self.expectations, pii=self._pii(), where=where)
            raise_for_errors(self.results, where)
        return {"expectations": self._fingerprint(), RESULTS: [r.to_dict() for r in self.results]}

    def recheck(self, manifest: Manifest, platform: PlatformResource) -> None:
        """Report on data that were published before; validate again if the YAML changed."""
        from mlops_assets.quality.runner import ExpectationResult
        from mlops_assets.tables.executors import read_version

        if not self.expectations:
            return
        if manifest.metadata.get("expectations") == self._fingerprint():
            stored = manifest.metadata[RESULTS]
            self.results = [ExpectationResult.from_dict(result) for result in stored]
            return
        self.check(read_version(platform.spark(self.project), platform.store(), manifest), None)

    @contextmanager
    def reporting(self) -> Iterator[list[dg.AssetCheckResult]]:
        """Collect the check results of the block, also when an expectation fails in it."""
        events: list[dg.AssetCheckResult] = []
        try:
            yield events
        except QualityError as error:
            self.failure = error
        events.extend(build_check_results(self.results, self.key))

    def raise_if_failed(self) -> None:
        """Fail the step, after its check results were reported."""
        if self.failure is not None:
            raise dg.Failure(str(self.failure), allow_retries=False) from self.failure

    def _fingerprint(self) -> str:
        written = [e.model_dump(mode="json") for e in self.expectations]
        return json.dumps(written, sort_keys=True)

    def _pii(self) -> tuple[str, ...]:
        if self.target == FEATURES:
            return self.project.spec.features.pii
        return self.project.spec.sources[self.target].pii
