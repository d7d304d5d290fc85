"""From a published feature table to a published model bundle."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.training.bundle import Bundle, open_bundle
from mlops_assets.training.bundle_writer import write_bundle
from mlops_assets.training.claim import claimed, claimed_if_free
from mlops_assets.training.job import job_folders, remove_jobs
from mlops_assets.training.key import training_key
from mlops_assets.training.result import EpochResult, TrainingResult
from mlops_assets.training.split import split_rows
from mlops_assets.training.table import load_table
from mlops_assets.training.trainer import train_claimed
from resources.manifest import Draft

if TYPE_CHECKING:
    from resources.manifest import Manifest
    from resources.store import Store


@dataclass(frozen=True)
class TrainedBundle:
    """A published bundle.

    Attributes:
        manifest: Its manifest in the store.
        bundle: The verified bundle.
        reused: The bundle of this training was there already.
        result: The training, unless reused.
    """

    manifest: Manifest
    bundle: Bundle
    reused: bool
    result: TrainingResult | None


def train_bundle(
    project: Project,
    *,
    store: Store,
    features: Manifest,
    checkpoints_root: Path,
    code_version: str,
    on_epoch: Callable[[EpochResult], None] | None = None,
    force: bool = False,
) -> TrainedBundle:
    """Train on a feature table and publish the bundle, or find the one that is there.

    Two runs of the same training do not disturb each other: the second waits, and finds the bundle.

    Args:
        project: The project.
        store: Where features and bundles lie.
        features: The feature table.
        checkpoints_root: Folder for the checkpoints of all trainings; those of this one are taken
            up if it was killed, and removed when its bundle is published.
        code_version: Version of the code that decides the result.
        on_epoch: Called after each epoch.
        force: Train even if the bundle is there.

    Raises:
        EmptyDataError: There are no rows to train, validate or test on.
        TrainingError: Training cannot go on.
        ParityError: Torch and ONNX Runtime disagree.
        StoreError: The features cannot be read, or the bundle cannot be written.
        EnvironmentProblemError: The file system of the checkpoints has no locks.
    """
    key = training_key(project, features.data_version, code_version)
    known = None if force else _known_bundle(project, store, key)
    if known is not None:
        return known
    checkpoints = checkpoints_root / project.id.team / project.id.name / key[7:39]
    with claimed(checkpoints):
        remove_jobs(checkpoints)
        _remove_killed_jobs(checkpoints.parent)
        # Another run of this training may have published while this one waited for its end.
        known = None if force else _known_bundle(project, store, key)
        return known or _train_and_publish(
            project,
            store=store,
            features=features,
            checkpoints=checkpoints,
            key=key,
            code_version=code_version,
            on_epoch=on_epoch,
        )


def _known_bundle(project: Project, store: Store, key: str) -> TrainedBundle | None:
    found = [
        item for item in store.manifests(project.id.bundles_collection) if item.inputs_digest == key
    ]
    return (
        TrainedBundle(found[-1], open_bundle(store.path(found[-1])), True, None) if found else None
    )


def _remove_killed_jobs(folder: Path) -> None:
    """Remove rows that killed runs of the project's other trainings left on the disk."""
    for training in {job.parent for job in job_folders(folder)}:
        with claimed_if_free(training) as is_free:
            if is_free:
                remove_jobs(training)
                with suppress(OSError):  # it has checkpoints, and is gone on with some day
                    training.rmdir()


def _train_and_publish(
    project: Project,
    *,
    store: Store,
    features: Manifest,
    checkpoints: Path,
    key: str,
    code_version: str,
    on_epoch: Callable[[EpochResult], None] | None,
) -> TrainedBundle:
    from mlops_assets.training.checkpoint import remove_checkpoints

    collection = project.id.bundles_collection
    table = load_table(store.files(features))
    split = split_rows(table, project.spec)
    result = train_claimed(table, split, project, checkpoints=checkpoints, on_epoch=on_epoch)
    with store.staging(collection) as staged:
        info = write_bundle(
            staged,
            project,
            result,
            table,
            split,
            features_version=features.data_version,
            code_version=code_version,
        )
        draft = Draft(
            data_version=info.id,
            inputs_digest=key,
            rows=len(split.train),
            metadata={
                "features_version": features.data_version,
                "features_sequence": features.sequence,
                "code_version": code_version,
                "split": split.describe(),
                "placement": result.placement.to_dict(),
            },
        )
        manifest = store.publish(collection, staged, draft)
    remove_checkpoints(checkpoints)
    return TrainedBundle(manifest, open_bundle(store.path(manifest)), False, result)
