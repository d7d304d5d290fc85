"""Which model answered the requests of a window, and what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mlops_assets.config.project import Project
from mlops_assets.evaluation.run import load_result
from mlops_assets.monitoring.windows import Window
from mlops_assets.serving.apply import stored_bundle
from mlops_assets.training.bundle import Bundle
from resources.ledger import Ledger

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.store import Store


DISTANCES = {"same_weekday": timedelta(days=7), "same_hour": timedelta(days=1)}
"""How long before a window its seasonal reference lies."""


class Models:
    """The project's bundles by served version, each opened once.

    Args:
        project: The project.
        store: Ledger, bundles and evaluations.
    """

    def __init__(self, project: Project, store: Store) -> None:
        self._project = project
        self._store = store
        self._bundle_ids = Ledger(store, project.id.ledger_prefix).state().bundles
        self._opened: dict[str, Bundle] = {}

    def bundle(self, version: int) -> Bundle | None:
        """The bundle of a version; None for a number that was never deployed."""
        bundle_id = self._bundle_ids.get(version)
        if bundle_id is None:
            return None
        if bundle_id not in self._opened:
            self._opened[bundle_id] = stored_bundle(self._project, self._store, bundle_id)
        return self._opened[bundle_id]

    def baseline(self, bundle_id: str, metric: str) -> float | None:
        """The metric of a bundle on its own test rows, as it was when it was accepted."""
        for manifest in reversed(self._store.manifests(self._project.id.evaluations_collection)):
            if manifest.metadata.get("bundle_id") == bundle_id:
                value = load_result(self._store, manifest).metrics.get(metric)
                if value is not None:
                    return float(value)
        return None


@dataclass(frozen=True)
class Traffic:
    """The requests of a window by the version that answered.

    Attributes:
        known: Rows by version, for versions that were deployed.
        unknown: Rows of other versions, or of none.
        version: The version that answered most rows, if any is known.
        bundle: Its bundle.
    """

    known: dict[int, int]
    unknown: int
    version: int | None
    bundle: Bundle | None

    def own_rows(self, table: pa.Table, column: str) -> pa.Table:
        """The rows that the main version answered."""
        import pyarrow.compute as pc

        return table.filter(pc.equal(table[column], self.version))


def split_traffic(table: pa.Table, column: str, models: Models) -> Traffic:
    """Count the requests by version."""
    import pyarrow.compute as pc

    known: dict[int, int] = {}
    unknown = 0
    for item in pc.value_counts(table[column]).to_pylist():
        version, count = item["values"], item["counts"]
        if version is not None and models.bundle(version) is not None:
            known[version] = count
        else:
            unknown += count
    if not known:
        return Traffic({}, unknown, None, None)
    version = max(known, key=lambda number: (known[number], number))
    return Traffic(known, unknown, version, models.bundle(version))


def reference_of(
    project: Project, bundle: Bundle, earlier: list[dict[str, Any]], window: Window
) -> tuple[Mapping[str, Any] | None, str]:
    """Profiles of the inputs and of the prediction that a window is compared with.

    Args:
        project: The project.
        bundle: The model that answered.
        earlier: Reports of earlier windows, oldest first.
        window: The window.

    Returns:
        ``{"inputs": …, "prediction": …}``, and what it is in words; None and why there is none.
    """
    monitoring = project.spec.monitoring
    if monitoring.reference == "training":
        return bundle.reference, "training rows of the model that answered"
    usable = [
        report
        for report in earlier
        if report["bundle_id"] == bundle.id
        and report["enough_rows"]
        and report["quality"]["state"] == "ok"
    ]
    distance = DISTANCES.get(monitoring.reference)
    if distance is not None:
        wanted = (window.start - distance).isoformat()
        usable = [report for report in usable if report["window"]["start"] == wanted]
    if not usable:
        return None, f"there is no earlier window to compare with ({monitoring.reference})"
    return usable[-1]["profile"], f"window {usable[-1]['window']['start']}"
