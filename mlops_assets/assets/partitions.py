"""Dagster partitions of growing sources, and what a run says about each."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.metadata import location
from mlops_assets.config.partitions import (
    KEYS,
    TimePartitions,
    partitions_by_offset,
    partitions_by_time,
)
from mlops_assets.config.project import Project
from mlops_assets.errors import SourceError

if TYPE_CHECKING:
    from mlops_assets.sources.revisions import Taken

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
"""Run tags of a run of several partitions, as Dagster sets them."""
CRON = {"hour": "0 * * * *", "day": "0 0 * * *", "week": "0 0 * * 1", "month": "0 0 1 * *"}


def partitions_of(project: Project, source: str) -> dg.PartitionsDefinition[Any] | None:
    """The partitions of one source's landing asset; None for a source without."""
    spec = project.spec.source(source)
    by_time = partitions_by_time(spec)
    if by_time is not None:
        return time_partitions(by_time)
    if partitions_by_offset(spec) is not None:
        return dg.DynamicPartitionsDefinition(name=project.id.partition_set(source))
    return None


def time_partitions(rule: TimePartitions) -> dg.TimeWindowPartitionsDefinition:
    """Partitions by time, in UTC; their keys are those of the engine's windows."""
    return dg.TimeWindowPartitionsDefinition(
        start=rule.first, fmt=KEYS[rule.every], cron_schedule=CRON[rule.every], timezone="UTC"
    )


def chosen_keys(context: dg.AssetExecutionContext) -> list[str] | None:
    """The partitions that a run is of; None for a run that takes whatever is due."""
    if context.has_partition_key or context.has_partition_key_range:
        return list(context.partition_keys)
    return None


def report_partitions(
    context: dg.AssetExecutionContext, taken: Sequence["Taken"], *, has_failed: bool
) -> None:
    """Show the partitions that were taken in the UI, each with its rows and revision.

    Those that a run is of are materialized by the run's own result; those of other runs, and
    those of a run that is about to fail, are reported here.
    """
    own = [] if has_failed else chosen_keys(context) or []
    for part in taken:
        metadata = _metadata(part)
        if part.key in own:
            context.add_asset_metadata(metadata, partition_key=part.key)
        elif part.is_new or has_failed:
            context.log_event(
                dg.AssetMaterialization(
                    context.asset_key,
                    partition=part.key,
                    metadata=metadata,
                    tags={"dagster/data_version": _version(part)},
                )
            )


def raise_for_problems(project: Project, source: str, taken: Iterable["Taken"]) -> None:
    """Fail, after the others were taken, for those that could not be.

    Raises:
        SourceError: At least one could not be taken.
    """
    every = list(taken)
    problems = [(part.key, part.problem) for part in every if part.problem is not None]
    if not problems:
        return
    first = problems[0][1]
    raise SourceError(
        f"{len(problems):,} of {len(every):,} partitions could not be taken",
        where=f"{project.id} landing/{source}",
        found="\n    ".join(["", *(f"{key}: {error.problem}" for key, error in problems[:10])])
        + f"\n  the first of them in full: {first}",
        expected="partitions that can be read; the others were taken, and stay",
        fix=first.fix or "look at the source, and materialize these partitions again",
    )


def _metadata(part: "Taken") -> dict[str, Any]:
    return {
        "dagster/partition_row_count": part.rows,
        "revision": part.revision,
        "unchanged": not part.is_new,
        "location": location(*part.manifests),
    }


def _version(part: "Taken") -> str:
    versions = [manifest.data_version for manifest in part.manifests]
    if len(versions) == 1:
        return versions[0]
    return f"sha256:{hashlib.sha256(','.join(versions).encode()).hexdigest()}"
