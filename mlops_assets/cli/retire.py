"""``mlops retire``: take a model offline."""

from __future__ import annotations

import click


@click.command("retire")
@click.argument("project", metavar="TEAM/PROJECT")
@click.option("--reason", required=True, help="Kept in the deployment ledger.")
def retire(project: str, reason: str) -> None:
    """Take a project's model offline: its clients get errors from then on.

    Its bundles and its ledger stay. The next deployment, or `mlops rollback --to`, serves it again.
    """
    from mlops_assets.cli.projects import choose_projects
    from mlops_assets.serving.rollback import retire as take_offline
    from resources.settings import Settings
    from resources.store import open_store

    settings = Settings.from_environment()
    chosen = choose_projects([project], settings.root)[0]
    version = take_offline(
        chosen,
        store=open_store(settings.store_uri),
        settings=settings,
        run_id="command line",
        reason=reason,
    )
    click.echo(f"{chosen.id}: version {version} is offline")
