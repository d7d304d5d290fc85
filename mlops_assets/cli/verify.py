"""``mlops verify``: read everything in the store again."""

from __future__ import annotations

import click


@click.command("verify")
@click.argument("project", metavar="[TEAM/PROJECT]", required=False)
@click.pass_context
def verify(context: click.Context, project: str | None) -> None:
    """Compare every byte of every version with its manifest, of one project or of all.

    Ends with exit code 1 when something is damaged; each damage is told with what to do.
    """
    from mlops_assets.cli.main import show_error
    from mlops_assets.errors import StoreError
    from resources.settings import Settings
    from resources.store import open_store
    from resources.verification import verify_store

    store = open_store(Settings.from_environment().store_uri)
    below = str(_project(project)) if project else ""
    found = verify_store(store, below)
    if project and not found.versions and not found.documents:
        raise StoreError(
            "there is nothing of this project",
            where=store.uri,
            found=f"nothing below {below}",
            fix="look at the name: `mlops status` lists the projects",
        )
    for problem in found.problems:
        show_error(problem)
    click.echo(
        f"{found.versions:,} versions, {found.files:,} files ({found.bytes:,} bytes) and "
        f"{found.documents:,} documents read: "
        + (f"{len(found.problems):,} damaged" if found.problems else "all whole")
    )
    if found.problems:
        context.exit(1)


def _project(text: str) -> object:
    """The project of that name, also of one whose YAML is gone: its data are not."""
    from mlops_assets.keys import ProjectId

    try:
        return ProjectId.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
