"""The ``model`` asset: a trained, content-addressed model bundle."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.conditions import downstream_condition
from mlops_assets.assets.metadata import picture, table
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.settings import is_forced, project_asset
from mlops_assets.assets.upstream import require_latest
from mlops_assets.assets.versions import code_version
from mlops_assets.config.project import Project
from mlops_assets.keys import GPU_POOL

if TYPE_CHECKING:
    from mlops_assets.training.train_bundle import TrainedBundle


def build_model_asset(project: Project) -> dg.AssetsDefinition:
    """The asset that trains on the latest features.

    The same features, config, code and seed give the bundle that is already there.
    """
    version = code_version(project, "model")

    @project_asset(
        project,
        project.id.model_key,
        kinds={"pytorch", "onnx"},
        deps=[project.id.features_key],
        description=f"{project.spec.model.type.upper()} ({project.spec.task}): "
        f"{project.spec.description}",
        code_version=version,
        condition=downstream_condition(),
        fresh_for=project.spec.monitoring.freshness.model,
        pool=GPU_POOL if project.spec.trains_on_gpu else None,
    )
    def model(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> dg.MaterializeResult[Any]:
        from mlops_assets.training.train_bundle import train_bundle

        store = platform.store()
        trained = train_bundle(
            project,
            store=store,
            features=require_latest(store, project.id.features_collection, "features"),
            checkpoints_root=platform.settings().home / "checkpoints",
            code_version=version,
            on_epoch=lambda epoch: context.log.info(_epoch_line(epoch, project)),
            force=is_forced(context),
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(trained.bundle.id),
            metadata=_metadata(trained, str(store.path(trained.manifest))),
        )

    return model


def _epoch_line(epoch: Any, project: Project) -> str:
    metrics = "  ".join(f"{name} {value:.4f}" for name, value in epoch.metrics.items())
    return (
        f"epoch {epoch.epoch}/{project.spec.training.epochs}  train {epoch.train_loss:.4f}  "
        f"validation {epoch.validation_loss:.4f}  {metrics}  {epoch.rows_per_second:,.0f} rows/s"
    )


def _epoch_row(epoch: dict[str, Any]) -> dict[str, Any]:
    return {
        "epoch": epoch["epoch"],
        "train_loss": epoch["train_loss"],
        "validation_loss": epoch["validation_loss"],
        **epoch["metrics"],
        "learning_rate": epoch["learning_rate"],
    }


def _metadata(trained: "TrainedBundle", path: str) -> dict[str, Any]:
    from mlops_assets.evaluation.plots import learning_curve

    bundle = trained.bundle
    training = bundle.metrics
    history = training["history"]
    metadata: dict[str, Any] = {
        "learning_curve": picture(learning_curve(history), "learning curve"),
        "epochs": table([_epoch_row(epoch) for epoch in history]),
        "bundle": dg.MetadataValue.path(path),
        "bundle_id": bundle.id,
        "version": trained.manifest.sequence,
        "unchanged": trained.reused,
        "split": dg.MetadataValue.json(bundle.split),
        "parity": dg.MetadataValue.json(bundle.parity),
        "lineage": dg.MetadataValue.json(bundle.lineage),
    }
    for name in ("best_epoch", "device", "precision", "batch_size", "parameters"):
        if name in training:
            metadata[name] = training[name]
    placement = trained.manifest.metadata.get("placement")
    if placement is not None:
        metadata |= _placement(placement)
    if trained.result is not None:
        metadata["training_seconds"] = trained.result.seconds
        speeds = [epoch.rows_per_second for epoch in trained.result.history]
        metadata["rows_per_second"] = sorted(speeds)[len(speeds) // 2] if speeds else 0.0
        if trained.result.resumed_from is not None:
            metadata["resumed_from_epoch"] = trained.result.resumed_from
    return metadata


def _placement(placement: dict[str, Any]) -> dict[str, Any]:
    """Where the model was trained, also for one that was there already."""
    per_process = [
        {"process": rank, "device": device, "rows": rows}
        for rank, (device, rows) in enumerate(
            zip(placement["devices"], placement["rows"], strict=True)
        )
    ]
    shown = {
        "processes": placement["processes"],
        "nodes": placement["nodes"],
        "backend": placement["backend"] or "none: one process",
        "rows_per_process": table(per_process),
    }
    return {**shown, "restarts": placement["restarts"]} if placement["restarts"] else shown
