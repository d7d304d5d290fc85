"""``mlops backfill``: take partitions of a source, or take them again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.config.project import Project

_SHOWN = 5


@click.command("backfill")
@click.argument("project", metavar="TEAM/PROJECT")
@click.argument("source")
@click.option("--from", "start", required=True, metavar="KEY", help="First partition.")
@click.option("--to", "end", metavar="KEY", help="Last partition; by default the first.")
@click.option("--force", is_flag=True, help="Read again what did not change.")
def backfill(project: str, source: str, start: str, end: str | None, force: bool) -> None:
    """Take partitions of a source again, then make raw data of all of them.

    Keys are those of the Dagster UI: 2024-01-31 for a day, 2024-01-31-23:00 for an hour,
    p00000-000001000000 for a range of offsets. Partitions that did not change stay as they are.
    """
    from rich.console import Console
    from rich.markup import escape

    from mlops_assets.cli.lifecycle import run_lifecycle
    from mlops_assets.cli.projects import choose_projects
    from resources.settings import Settings

    settings = Settings.from_environment()
    (chosen,) = choose_projects((project,), settings.root)
    console = Console()
    outcome = run_lifecycle(
        chosen,
        settings,
        console=console,
        force=force,
        assets=_assets(chosen, source),
        tags=_range_tags(chosen, source, start, end or start),
    )
    for step, text in outcome.failures.items():
        console.print(f"\n[red]{chosen.id} {step} failed[/]\n{escape(text)}", highlight=False)
    if not outcome.success:
        sys.exit(1)
    console.print(f"\n`mlops run {chosen.id}` takes the new raw data on to the model.")


def _assets(project: Project, source: str) -> list[dg.AssetKey]:
    """The assets of the source.

    Raises:
        ConfigError: It has no partitions.
    """
    import dagster as dg

    from mlops_assets.assets.partitions import partitions_of
    from mlops_assets.errors import ConfigError

    sources = [name for name in project.spec.sources if partitions_of(project, name)]
    if source not in sources:
        raise ConfigError(
            "not a source with partitions",
            where=f"{project.id} sources",
            found=source,
            expected=f"one of {', '.join(sources)}" if sources else "none of them has any",
            fix="write `partitions:` under the source; see docs/concepts/partitions.md",
        )
    return [dg.AssetKey(project.id.landing_key(source)), dg.AssetKey(project.id.raw_key(source))]


def _range_tags(project: Project, source: str, start: str, end: str) -> dict[str, str]:
    """Run tags of a range of partitions, as Dagster's own back-fills set them.

    Raises:
        ConfigError: One of the keys is none of a partition, or they are in the wrong order.
    """
    from mlops_assets.assets.partitions import RANGE_END, RANGE_START, partitions_of
    from mlops_assets.cli.lifecycle import open_instance
    from mlops_assets.errors import ConfigError
    from resources.settings import Settings

    partitions = partitions_of(project, source)
    assert partitions is not None  # noqa: S101 - the assets were chosen before
    with open_instance(Settings.from_environment()) as instance:
        keys = list(partitions.get_partition_keys(dynamic_partitions_store=instance))
    unknown = [key for key in (start, end) if key not in keys]
    if unknown or keys.index(start) > keys.index(end):
        around = keys if len(keys) <= _SHOWN else [*keys[:2], "…", *keys[-2:]]
        raise ConfigError(
            "no such range of partitions",
            where=f"{project.id} landing/{source}",
            found=f"from {start} to {end}",
            expected=f"two of {', '.join(around)}, in this order" if keys else "none was taken yet",
            fix="write the keys as the asset's page in the UI lists them",
        )
    return {RANGE_START: start, RANGE_END: end}
