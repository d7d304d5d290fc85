"""``mlops rollback``: serve an earlier version again."""

from __future__ import annotations

import click


@click.command("rollback")
@click.argument("project", metavar="TEAM/PROJECT")
@click.option(
    "--to", "version", type=click.IntRange(min=1), help="Version; default: the one before."
)
@click.option("--reason", default="", help="Kept in the deployment ledger.")
def rollback(project: str, version: int | None, reason: str) -> None:
    """Make an earlier version the champion again.

    Versions that are still loaded take over at once; older ones are restored from their bundle.
    """
    from rich.console import Console

    from mlops_assets.cli.projects import choose_projects
    from mlops_assets.serving.rollback import rollback as roll_back
    from resources.settings import Settings
    from resources.store import open_store

    settings = Settings.from_environment()
    chosen = choose_projects([project], settings.root)[0]
    result = roll_back(
        chosen,
        version=version,
        store=open_store(settings.store_uri),
        settings=settings,
        run_id="command line",
        reason=reason or "asked for by a person",
    )
    Console().print(
        f"{chosen.id}: version {result.version} is live, in place of version "
        f"{result.champion_before} ({result.seconds:.1f} s)",
        highlight=False,
    )
