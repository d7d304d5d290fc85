"""``mlops up`` and ``mlops down``: the local servers."""

from __future__ import annotations

import click


@click.command("up")
@click.option("--port", default=3000, show_default=True, help="Port of the Dagster UI.")
def up(port: int) -> None:
    """Start Triton and Dagster, and keep both running until Ctrl-C.

    Triton is made to serve what the deployment ledger says. A server that ends is started again.
    """
    from rich.console import Console

    from mlops_assets.cli.projects import valid_projects
    from mlops_assets.cli.stack import Stack, running_stack
    from resources.settings import Settings

    settings = Settings.from_environment()
    console = Console()
    projects, problems = valid_projects(settings.root)
    for problem in problems:
        console.print(f"[yellow]{problem}[/]")
    with running_stack(Stack(settings, console, port)) as stack:
        stack.start_dagster()
        stack.reconcile(projects)
        console.print(f"Dagster UI  {stack.wait_for_ui()}")
        console.print(f"Triton      {stack.settings.triton_http_url}")
        console.print("Ctrl-C stops both.")
        stack.watch(projects)


@click.command("down")
def down() -> None:
    """Stop the Triton and the Dagster that an earlier command left running."""
    from resources.dagster_ui import find_dagster
    from resources.settings import Settings
    from resources.triton.server import find_triton

    settings = Settings.from_environment()
    stopped = []
    for name, server in (("Dagster", find_dagster(settings)), ("Triton", find_triton(settings))):
        if server is not None:
            server.stop()
            stopped.append(name)
    click.echo(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
