"""History under one policy: real monitoring, decisions, training and evaluation, no serving.

Windows are reported, judged and decided by the same code as in production, from the same records;
models are trained and compared for promotion as always. What is left out is what has no influence:
Triton (ONNX Runtime answers), Spark (the features of history are there) and Dagster.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mlops_assets.backtest.policies import Policy
from mlops_assets.config.metrics import METRICS
from mlops_assets.config.monitoring import InferenceLogSpec, LabelsSpec
from mlops_assets.config.project import Project
from mlops_assets.evaluation.run import evaluate_latest
from mlops_assets.keys import ACCEPTED_VERDICTS
from mlops_assets.monitoring.records import Records
from mlops_assets.monitoring.register import register
from mlops_assets.monitoring.run import monitor
from mlops_assets.monitoring.streams import inference_log, labels
from mlops_assets.policy.decision import Outcome
from mlops_assets.policy.run import decide_open_windows, record_outcome
from mlops_assets.replay.steps import steps
from mlops_assets.replay.traffic import deliver_labels, log_answers
from mlops_assets.replay.world import World, between
from mlops_assets.training.bundle import open_bundle
from mlops_assets.training.scoring import score
from mlops_assets.training.train_bundle import train_bundle
from resources.ledger import Ledger
from resources.local_store import LocalStore
from resources.manifest import Draft

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.training.bundle import Bundle
    from resources.manifest import Manifest


@dataclass
class Tally:
    """What a policy did.

    Attributes:
        policy: Its name.
        windows: Windows with a report.
        alarms: Windows with drift, a loss or bad data.
        retrains: Trainings after the first one.
        promoted: How many of them went live.
        training_seconds: Time spent on them.
        metric: Realised metric by window.
    """

    policy: str
    windows: int = 0
    alarms: int = 0
    retrains: int = 0
    promoted: int = 0
    training_seconds: float = 0.0
    metric: list[float] = field(default_factory=list)

    def to_row(self, metric: str) -> dict[str, Any]:
        """As a row of the table; the worst window by the metric's own goal."""
        worst = min if METRICS[metric].goal == "increase" else max
        return {
            "policy": self.policy,
            "windows": self.windows,
            "alarms": self.alarms,
            "retrains": self.retrains,
            "promoted": self.promoted,
            "train s": round(self.training_seconds, 1),
            "mean": round(fmean(self.metric), 4) if self.metric else None,
            "worst": round(worst(self.metric), 4) if self.metric else None,
        }


class Simulation:
    """One project under one policy.

    Args:
        project: The project.
        features: All feature rows of history.
        policy: The policy.
        folder: An empty folder for its store and logs.
    """

    def __init__(self, project: Project, features: pa.Table, policy: Policy, folder: Path) -> None:
        log = project.spec.monitoring.inference_log
        declared = {} if log is None else log.own_columns
        monitoring = policy.monitoring.model_copy(
            update={
                "inference_log": InferenceLogSpec(
                    **declared, uri=str(folder / "traffic" / "inference_log")
                ),
                "labels": LabelsSpec(uri=str(folder / "traffic" / "labels")),
            }
        )
        update = {"monitoring": monitoring, "automation": policy.automation}
        self.project = replace(project, spec=project.spec.model_copy(update=update))
        self.policy = policy
        self.tally = Tally(policy.name)
        self._world = World(self.project, folder, features, {}, ())
        self.store = LocalStore(folder / "store")
        self._folder = folder

    def run(self, start: datetime, end: datetime, on_window: Callable[[datetime], None]) -> Tally:
        """Train on what is known at ``start``, then live until ``end``."""
        self._train(start)
        self.tally.training_seconds = 0.0
        before = start
        for step in steps(start, end, self.project.spec.monitoring.window.every):
            self._live(step.start, step.early)
            self._react(step.early, before)
            self._live(step.early, step.end)
            before = step.early
            on_window(step.end)
        self._count()
        return self.tally

    def _live(self, start: datetime, end: datetime) -> None:
        rows = self._world.requests(start, end)
        if rows.num_rows:
            bundle, version = self._champion()
            answers = score(bundle, rows)
            log_answers(self._world, rows, (answers, None), bundle, version)
        deliver_labels(self._world, start, end)

    def _react(self, now: datetime, before: datetime) -> None:
        """Register, report, decide and, if the policy says so, retrain."""
        register(self.project, inference_log(self.project), self.store)
        declared = labels(self.project)
        if declared is not None:
            register(self.project, declared, self.store)
        monitor(self.project, self.store)
        decisions = decide_open_windows(self.project, self.store)
        chosen = [one for one in decisions if one["verdict"] == "retrain"]
        outcome: Outcome = "failed"
        if (self.policy.decides and chosen) or self.policy.is_due(before, now):
            outcome = self._retrain(now)
        for one in chosen:
            record_outcome(self.project, self.store, one["decision"], outcome, "backtest")

    def _retrain(self, now: datetime) -> Outcome:
        self.tally.retrains += 1
        promoted = self._train(now)
        self.tally.promoted += promoted
        return "promoted" if promoted else "rejected"

    def _train(self, now: datetime) -> bool:
        """Train and evaluate on what is known; whether the model went live."""
        began = time.perf_counter()
        features = self._known(now)
        trained = train_bundle(
            self.project,
            store=self.store,
            features=features,
            checkpoints_root=self._folder / "checkpoints",
            code_version="backtest",
        )
        _, result = evaluate_latest(
            self.project, store=self.store, features=features, model=trained.manifest
        )
        self.tally.training_seconds += time.perf_counter() - began
        first = self._ledger().state().champion is None
        if result.verdict in ACCEPTED_VERDICTS or first:
            self._promote(trained.bundle.id, result.reason)
            return True
        return False

    def _known(self, now: datetime) -> Manifest:
        """The feature rows that were there at a moment, as a version of the features."""
        import pyarrow.parquet

        time_column = self.project.spec.features.time
        table = self._world.features
        rows = table.filter(between(table.schema, time_column, None, now))
        collection = self.project.id.features_collection
        with self.store.staging(collection) as staged:
            pyarrow.parquet.write_table(rows, staged / "part-00000.parquet")
            digest = hashlib.sha256(f"{now.isoformat()} {rows.num_rows}".encode()).hexdigest()
            draft = Draft(data_version=f"sha256:{digest}", rows=rows.num_rows)
            return self.store.publish(collection, staged, draft)

    def _promote(self, bundle_id: str, reason: str) -> None:
        ledger = self._ledger()
        state = ledger.state()
        entry: dict[str, Any] = {
            "version": state.next_version,
            "bundle_id": bundle_id,
            "run_id": "backtest",
            "reason": reason,
        }
        ledger.append("deploy", **entry, expected_head=state.head)
        ledger.append("promote", **entry, expected_head=state.head + 1)

    def _champion(self) -> tuple[Bundle, int]:
        entry = self._ledger().state().champion
        assert entry is not None  # noqa: S101 - the first model is always promoted
        manifest = self.store.find(self.project.id.bundles_collection, entry.bundle_id)
        assert manifest is not None  # noqa: S101 - it was published before it was promoted
        return open_bundle(self.store.path(manifest)), entry.version

    def _ledger(self) -> Ledger:
        return Ledger(self.store, self.project.id.ledger_prefix)

    def _count(self) -> None:
        windows = Records(self.store, self.project.id, "windows")
        performance = Records(self.store, self.project.id, "performance")
        judged = {name: performance.read(name) for name in performance.names()}
        for name in windows.names():
            report = windows.read(name)
            self.tally.windows += 1
            lost = judged.get(name, {}).get("decayed")
            bad = report["quality"]["state"] == "bad"
            self.tally.alarms += bool(lost or bad or report["drift"]["state"] == "drifted")
        values = [record["realised"]["value"] for record in judged.values()]
        self.tally.metric = [value for value in values if value is not None]
