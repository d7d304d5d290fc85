"""``landing/<source>`` assets of sources that are taken by the hour, day, week or month."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from mlops_assets.assets.intake import intake_result, intake_spec
from mlops_assets.assets.partitions import (
    chosen_keys,
    partitions_of,
    raise_for_problems,
    report_partitions,
)
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.settings import is_forced, project_asset
from mlops_assets.assets.versions import code_version
from mlops_assets.config.partitions import partitions_by_time
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError, first_few
from mlops_assets.keys import GAPS_CHECK


def build_landing_by_time(project: Project, source: str) -> dg.AssetsDefinition:
    """The asset that takes one source's partitions, and takes those that changed again.

    Its sensor starts it for what is due; a back-fill for any partitions.
    """
    spec = project.spec.sources[source]
    rule = partitions_by_time(spec)
    if rule is None:
        raise ValueError("the source is not taken by time")
    key = dg.AssetKey(project.id.landing_key(source))
    gaps = dg.AssetCheckSpec(
        GAPS_CHECK, asset=key, description="No partition is missing before the newest."
    )

    @project_asset(
        project,
        key.path,
        description=f"Source `{source}` ({spec.type}) by the {rule.every}, each partition on its "
        "own. Materialize a partition to take it again if it changed.",
        kinds={"spark", "parquet", spec.type},
        code_version=code_version(project, "raw", source),
        condition=None,
        checks=[gaps, intake_spec(key)],
        partitions=partitions_of(project, source),
    )
    def landing(context: dg.AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from mlops_assets.sources.partitioned import holes, take_partitions
        from mlops_assets.sources.revisions import Slices

        store = platform.store()
        taken = []
        spark = partial(platform.spark, project)
        keys, force = chosen_keys(context), is_forced(context)
        try:
            for part in take_partitions(project, source, keys, store, spark, force=force):
                context.log.info(_sentence(part))
                taken.append(part)
        except MlopsError as error:
            yield intake_result(project, key, error)
            raise
        slices = Slices(project, source, store)
        landed = slices.newest()
        missing = holes(project, source, landed)
        has_failed = any(part.problem for part in taken)
        report_partitions(context, [p for p in taken if not p.problem], has_failed=has_failed)
        check = _check(key, missing, is_error=rule.missing == "block")
        try:
            raise_for_problems(project, source, taken)
        except MlopsError as error:
            yield check
            if keys is None:  # days that a person asks for by hand may not be there
                yield intake_result(project, key, error)
            raise
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(slices.version or "none"),
            metadata={
                "partitions_taken": sum(part.is_new for part in taken),
                "partitions_unchanged": sum(not part.is_new for part in taken),
                "partitions": len(landed),
                "missing": len(missing),
            },
            check_results=[check, intake_result(project, key)],
        )

    return landing


def _sentence(part: Any) -> str:
    if part.problem:
        return f"{part.key}: {part.problem}"
    words = f"{part.rows:,} rows, revision {part.revision}"
    return f"{part.key}: {words}" if part.is_new else f"{part.key}: unchanged, {words}"


def _check(key: dg.AssetKey, missing: list[str], *, is_error: bool) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=GAPS_CHECK,
        passed=not missing,
        severity=severity,
        description=f"{len(missing):,} partitions are missing, though later ones were taken: "
        f"{first_few(missing)}"
        if missing
        else "no partition is missing before the newest",
    )
