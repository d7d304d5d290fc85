"""``mlops run``: one project, once through."""

from __future__ import annotations

import sys

import click

from mlops_assets.cli.lifecycle import STAGES


@click.command("run")
@click.argument("projects", nargs=-1, metavar="TEAM/PROJECT…")
@click.option(
    "--stage",
    "stages",
    multiple=True,
    type=click.Choice(STAGES),
    help="Only this stage; may be given several times. Default: all of them.",
)
@click.option("--force", is_flag=True, help="Compute again even when nothing changed.")
def run(projects: tuple[str, ...], stages: tuple[str, ...], force: bool) -> None:
    """Take projects from raw data to a served model.

    Steps whose data, configuration and code are as before are not computed again.
    """
    from rich.console import Console
    from rich.markup import escape

    from mlops_assets.cli.lifecycle import run_lifecycle
    from mlops_assets.cli.projects import choose_projects
    from resources.settings import Settings

    settings = Settings.from_environment()
    console = Console()
    failed = False
    for project in choose_projects(projects, settings.root):
        outcome = run_lifecycle(
            project, settings, console=console, stages=stages or STAGES, force=force
        )
        for step, text in outcome.failures.items():
            console.print(f"\n[red]{project.id} {step} failed[/]\n{escape(text)}", highlight=False)
        failed = failed or not outcome.success
    if failed:
        sys.exit(1)
