"""``mlops triton``: the embedded Triton server alone."""

from __future__ import annotations

import click


@click.group("triton")
def triton() -> None:
    """Start, stop and look at the embedded Triton server (loopback only)."""


@triton.command("up")
def up() -> None:
    """Start it in the background, and make it serve what the deployment ledger says.

    The first time, the server is installed from PyPI into an environment of its own.
    """
    from mlops_assets.cli.projects import valid_projects
    from mlops_assets.serving.reconcile import reconcile
    from resources.settings import Settings
    from resources.store import open_store
    from resources.triton.server import ensure_triton

    settings = Settings.from_environment()
    server = ensure_triton(settings, say=click.echo)
    settings = Settings.from_environment(root=settings.root)
    projects, problems = valid_projects(settings.root)
    for problem in problems:
        click.echo(problem, err=True)
    corrections = reconcile(projects, store=open_store(settings.store_uri), settings=settings)
    for correction in corrections:
        click.echo(str(correction))
    click.echo(f"Triton answers on {server.http_url} (HTTP) and {server.grpc_url} (gRPC)")


@triton.command("down")
def down() -> None:
    """Stop it."""
    from resources.settings import Settings
    from resources.triton.server import find_triton

    server = find_triton(Settings.from_environment())
    if server is None:
        click.echo("Triton does not run")
        return
    server.stop()
    click.echo("stopped Triton")


@triton.command("status")
def status() -> None:
    """Show its addresses, and every loaded version with its state."""
    from resources.settings import Settings
    from resources.triton.client import TritonClient
    from resources.triton.server import find_triton

    settings = Settings.from_environment()
    server = find_triton(settings)
    if server is None:
        click.echo("the embedded Triton does not run; start it with `mlops triton up`")
        raise SystemExit(1)
    click.echo(f"HTTP {server.http_url}   gRPC {server.grpc_url}   log {server.log}")
    with TritonClient(server.grpc_url) as client:
        for line in client.list_models():
            click.echo(line)
