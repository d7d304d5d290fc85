"""The ``inference_log`` and ``labels`` assets: files of live traffic, taken exactly once."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.metadata import table
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.settings import project_asset
from mlops_assets.assets.versions import code_version
from mlops_assets.config.project import Project
from mlops_assets.keys import FILES_CHECK

if TYPE_CHECKING:
    from mlops_assets.monitoring.register import Registration
    from resources.store import Store

TEXTS = {
    "inference_log": "Requests to the live model and its answers.",
    "labels": "True answers, which arrive after the predictions.",
}


def build_stream_assets(project: Project) -> list[dg.AssetsDefinition]:
    """The project's streams, as far as they are declared."""
    monitoring = project.spec.monitoring
    assets = []
    if monitoring.inference_log is not None:
        key = project.id.inference_log_key
        assets.append(_build(project, key, [project.id.deployment_key]))
    if monitoring.labels is not None:
        assets.append(_build(project, project.id.labels_key, []))
    return assets


def _build(project: Project, path: list[str], deps: list[list[str]]) -> dg.AssetsDefinition:
    name = path[-1]
    key = dg.AssetKey(path)
    if name in project.spec.growing:
        deps = [*deps, project.id.landing_key(name)]

    @project_asset(
        project,
        path,
        kinds={"parquet"},
        deps=deps,
        description=TEXTS[name],
        code_version=code_version(project, name),
        condition=None,
        checks=[
            dg.AssetCheckSpec(
                FILES_CHECK, asset=key, description="Every file can be read and stays as it was."
            )
        ],
    )
    def stream(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from mlops_assets.monitoring import streams
        from mlops_assets.monitoring.register import register

        store = platform.store()
        found = register(project, streams.by_name(project, name), store)
        context.log.info(f"{found.files} new files with {found.rows:,} rows")
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(_version(project, name, store)),
            metadata=_metadata(found, store),
            check_results=[_files_check(key, found)],
        )

    return stream


def _version(project: Project, name: str, store: "Store") -> str:
    latest = store.latest(project.id.segments_collection(name))
    return f"{latest.sequence}" if latest else "0"


def _metadata(found: "Registration", store: "Store") -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/row_count": found.rows,
        "new_files": found.files,
        "files": found.known,
        "refused_files": len(found.refused),
    }
    if found.segment is not None:
        metadata["location"] = dg.MetadataValue.path(str(store.path(found.segment)))
    return metadata


def _files_check(key: dg.AssetKey, found: "Registration") -> dg.AssetCheckResult:
    problems = [{"file": name, "problem": text} for name, text in found.refused.items()]
    problems += [
        {"file": name, "problem": "it changed after it was taken; it stays as it was taken"}
        for name in found.changed
    ]
    text = f"{found.files} new files, {found.known} in all"
    if problems:
        text = f"{len(problems)} files cannot be used, first {problems[0]['file']}"
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=FILES_CHECK,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description=text,
        metadata={"problems": table(problems)} if problems else {},
    )
