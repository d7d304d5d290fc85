"""``landing/<source>`` assets: what is new of a growing source, taken exactly once."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.gaps import gaps_check, last_verdict
from mlops_assets.assets.intake import intake_result, intake_spec
from mlops_assets.assets.metadata import table
from mlops_assets.assets.partitions import (
    chosen_keys,
    partitions_of,
    raise_for_problems,
    report_partitions,
)
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.settings import project_asset
from mlops_assets.assets.versions import code_version
from mlops_assets.config.partitions import partitions_by_offset
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.keys import DEAD_LETTERS_CHECK, GAPS_CHECK

if TYPE_CHECKING:
    from mlops_assets.sources.landing import Landing
    from resources.manifest import Manifest
    from resources.store import Store


def build_landing_asset(project: Project, source: str) -> dg.AssetsDefinition:
    """The asset that takes the new slices of one source.

    Its sensor starts it; raw data are a checked version of all slices.
    """
    spec = project.spec.source(source)
    key = dg.AssetKey(project.id.landing_key(source))

    @project_asset(
        project,
        key.path,
        description=f"New rows of source `{source}` ({spec.type}), each taken exactly once.",
        kinds={"parquet", spec.type},
        code_version=code_version(project, "raw", source),
        condition=None,
        partitions=partitions_of(project, source),
        checks=[
            dg.AssetCheckSpec(
                GAPS_CHECK, asset=key, description="Nothing was lost lately before it was taken."
            ),
            dg.AssetCheckSpec(
                DEAD_LETTERS_CHECK, asset=key, description="Every message could be read."
            ),
            intake_spec(key),
        ],
    )
    def landing(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        from mlops_assets.sources.landing import dead_letters, land
        from mlops_assets.sources.revisions import Slices

        store = platform.store()
        told = last_verdict(context.instance, dg.AssetCheckKey(key, GAPS_CHECK))
        # What a person asks for by hand may be gone, and says nothing about the source.
        again = _read_again(context, project, source, store)
        try:
            found = land(project, source, store)
        except MlopsError as error:
            yield intake_result(project, key, error)
            raise
        context.log.info(f"{len(found.slices)} new slices with {found.rows:,} rows")
        _report_offsets(context, project, source, found.slices)
        letters = [] if spec.pii else dead_letters(found.slices, store)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(Slices(project, source, store).version or "none"),
            metadata=_metadata(found) | again,
            check_results=[
                gaps_check(key, found.gaps, told, datetime.now(UTC)),
                _letters_check(key, found, letters),
                intake_result(project, key),
            ],
        )

    return landing


def _read_again(
    context: dg.AssetExecutionContext, project: Project, source: str, store: "Store"
) -> dict[str, Any]:
    """Read the ranges of offsets that a run is of again; metadata about them."""
    keys = chosen_keys(context)
    if keys is None:
        return {}
    from mlops_assets.sources.offsets import read_again

    taken = list(read_again(project, source, keys, store))
    has_failed = any(part.problem for part in taken)
    report_partitions(context, [p for p in taken if not p.problem], has_failed=has_failed)
    raise_for_problems(project, source, taken)
    return {"ranges_read_again": len(taken), "ranges_changed": sum(part.is_new for part in taken)}


def _report_offsets(
    context: dg.AssetExecutionContext, project: Project, source: str, slices: Sequence["Manifest"]
) -> None:
    """Show new slices under the ranges of offsets that they lie in."""
    rule = partitions_by_offset(project.spec.source(source))
    if rule is None:
        return
    from mlops_assets.sources.offsets import by_partition
    from mlops_assets.sources.revisions import Taken

    found = by_partition(slices, rule.offsets)
    known = project.id.partition_set(source)
    context.instance.add_dynamic_partitions(known, sorted(found))
    taken = [Taken(key, manifests, is_new=True) for key, manifests in sorted(found.items())]
    chosen = chosen_keys(context) or []
    report_partitions(context, [p for p in taken if p.key not in chosen], has_failed=False)


def _metadata(found: "Landing") -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/row_count": found.rows,
        "new_slices": len(found.slices),
        "dead_letters": found.rejected,
        "gaps": len(found.gaps),
        "positions": table([{"series": s, "next": e} for s, e in sorted(found.series.items())]),
    }
    if found.waiting is not None:
        metadata["lag"] = found.waiting
    return metadata


def _letters_check(
    key: dg.AssetKey, found: "Landing", letters: list[dict[str, Any]]
) -> dg.AssetCheckResult:
    shown = [{name: str(value) for name, value in letter.items()} for letter in letters]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=DEAD_LETTERS_CHECK,
        passed=not found.rejected,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{found.rejected:,} messages could not be read and were put aside"
        if found.rejected
        else "every message could be read",
        metadata={"dead_letters": table(shown)} if shown else {},
    )
