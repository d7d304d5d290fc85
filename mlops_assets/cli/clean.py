"""``mlops clean``: remove what killed runs left."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from resources.garbage import Removed


def _age(context: click.Context, parameter: click.Parameter, value: str) -> timedelta:
    from mlops_assets.config.base import format_duration, parse_duration
    from resources.cleaning import SHORTEST

    try:
        age = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if age < SHORTEST:
        shortest = format_duration(SHORTEST)
        raise click.BadParameter(f"at least {shortest}: what is younger may be a run's work")
    return age


@click.command("clean")
@click.option("--older-than", default="7d", show_default=True, callback=_age, help="Keep younger.")
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
def clean(older_than: timedelta, dry_run: bool) -> None:
    """Remove what belongs to no version and nobody uses: leftovers of killed runs, old copies.

    What a manifest names is never removed. Each team's daily schedule does the same for its part.
    """
    from resources.cleaning import clean as remove
    from resources.settings import Settings

    removed = remove(Settings.from_environment(), older_than, dry_run=dry_run)
    _show(removed, "would be removed" if dry_run else "removed")


def _show(removed: list[Removed], verb: str) -> None:
    for one in removed:
        click.echo(f"{one.bytes:>15,} bytes  {one.name}")
    total = sum(one.bytes for one in removed)
    click.echo(f"{verb}: {len(removed):,} leftovers, {total:,} bytes")
