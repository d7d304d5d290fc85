"""What all assets of a project share: group, owners, tags, kinds, automation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any

import dagster as dg

from mlops_assets.assets.failures import reported
from mlops_assets.config.files import CONFIG_FILE
from mlops_assets.config.project import Project
from mlops_assets.launching.tags import RUN_TAGS_METADATA, compute_tags

FORCE_TAG = "mlops/force"
"""Run tag: compute again even when nothing changed."""

Decorator = Callable[[Callable[..., Any]], dg.AssetsDefinition]


def project_asset(
    project: Project,
    path: Sequence[str],
    *,
    description: str,
    kinds: set[str],
    code_version: str,
    condition: dg.AutomationCondition[Any] | None,
    deps: Iterable[Sequence[str]] = (),
    checks: Sequence[dg.AssetCheckSpec] = (),
    fresh_for: timedelta | None = None,
    pool: str | None = None,
    partitions: dg.PartitionsDefinition[Any] | None = None,
) -> Decorator:
    """``@dg.asset`` with everything that a project's assets have in common.

    Args:
        project: The project.
        path: The asset's key.
        description: Shown in the UI.
        kinds: Dagster kinds, at most three.
        code_version: Digest of what decides the result.
        condition: When it materializes by itself, unless the project turned that off; None when
            only sensors start it.
        deps: Keys of the assets that it reads.
        checks: Checks that its body reports.
        fresh_for: Age from which the UI shows it as stale.
        pool: Dagster pool in which its step takes a slot.
        partitions: Its partitions; a back-fill takes any number of them in one run.
    """

    def decorate(body: Callable[..., Any]) -> dg.AssetsDefinition:
        return decorator(_reporting(project, body))

    freshness = dg.FreshnessPolicy.time_window(fail_window=fresh_for) if fresh_for else None
    decorator: Decorator = dg.asset(
        key=dg.AssetKey(path),
        deps=[dg.AssetKey(dep) for dep in deps],
        description=description,
        group_name=project.id.group,
        owners=list(project.spec.owners),
        tags={"team": project.id.team, "project": project.id.name, **project.spec.tags},
        kinds=kinds,
        code_version=code_version,
        automation_condition=condition if project.spec.automation.enabled else None,
        check_specs=checks,
        freshness_policy=freshness,
        metadata=_metadata(project),
        pool=pool,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
    )
    return decorate


def _metadata(project: Project) -> dict[str, Any]:
    """Where the UI finds the YAML, and the tags of every run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        path = str(project.directory / CONFIG_FILE)
        file = dg.LocalFileCodeReference(file_path=path, line_number=1)
        references = dg.CodeReferencesMetadataValue(code_references=[file])
    run_tags = compute_tags(project.spec.compute)
    tags = {RUN_TAGS_METADATA: dg.MetadataValue.json(run_tags)} if run_tags else {}
    return {"dagster/code_references": references, **tags}


def _reporting(project: Project, body: Callable[..., Any]) -> Callable[..., Any]:
    """The body, with its errors as the UI should show them."""

    @wraps(body)
    def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with reported(project):
            yield from body(*args, **kwargs)

    @wraps(body)
    def once(*args: Any, **kwargs: Any) -> Any:
        with reported(project):
            return body(*args, **kwargs)

    return steps if isgeneratorfunction(body) else once


def is_forced(context: dg.AssetExecutionContext) -> bool:
    """Whether this run was asked to compute again even when nothing changed."""
    return context.run.tags.get(FORCE_TAG) == "true"
