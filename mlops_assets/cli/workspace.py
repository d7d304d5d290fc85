"""``mlops workspace`` and ``mlops code-server``: Dagster's view of the teams in production."""

from __future__ import annotations

import click

DEFAULT_PORT = 4000


@click.command("workspace")
@click.option(
    "--host",
    default="{team}",
    show_default=True,
    help="Host of the code servers; {team} stands for the team's name.",
)
@click.option("--port", default=DEFAULT_PORT, show_default=True, help="Port, or the first port.")
@click.option("--commands", is_flag=True, help="Print the commands that start the servers instead.")
def workspace(host: str, port: int, commands: bool) -> None:
    """Print a workspace.yaml with one code server for each team that has a project.

    With one host for all teams, each server has a port of its own.
    """
    from mlops_assets.config.discovery import discover
    from mlops_assets.config.files import PROJECTS
    from mlops_assets.config.workspace import render_grpc_workspace, server_ports
    from mlops_assets.errors import ConfigError
    from resources.settings import Settings

    root = Settings.from_environment().root
    teams = sorted({project.team for project in discover(root)})
    if not teams:
        raise ConfigError(
            "there is no project", where=root / PROJECTS, fix="start one with `mlops new`"
        )
    if not commands:
        click.echo(render_grpc_workspace(teams, host, port), nl=False)
        return
    for team, server_port in server_ports(teams, host, port).items():
        where = "0.0.0.0" if "{team}" in host else host  # noqa: S104 - inside its container
        click.echo(f"mlops code-server {team} --host {where} --port {server_port}")


@click.command("code-server")
@click.argument("team")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=DEFAULT_PORT, show_default=True, help="Port to listen on.")
@click.option("--image", help="Container image of the team's runs; default: the instance's.")
def code_server(team: str, host: str, port: int, image: str | None) -> None:
    """Serve one team's code location until stopped; SIGTERM waits for the runs that go on in it.

    Each start has an identity of its own, by which the run launcher notices that the workers of an
    earlier one are gone. New code or YAML: start it again.
    """
    import os
    import sys
    import uuid

    from mlops_assets.config.discovery import discover
    from mlops_assets.config.problems import nearest
    from mlops_assets.errors import ConfigError
    from resources.settings import Settings

    root = Settings.from_environment().root
    teams = sorted({project.team for project in discover(root)})
    if team not in teams:
        raise ConfigError(
            "no such team",
            found=team,
            expected=" or ".join(teams) or "a team with a project",
            fix=f"did you mean {near}?" if (near := nearest(team, teams)) else None,
        )
    # Not `code-server start`, a second process around this one: it ends 30 s after SIGTERM, and
    # with it its container, however long a run still takes.
    command = [sys.executable, "-m", "dagster", "api", "grpc", "--lazy-load-user-code"]
    command += ["--module-name", "mlops_assets.definitions", "--attribute", team]
    command += ["--host", host, "--port", str(port), "--location-name", team]
    command += ["--fixed-server-id", str(uuid.uuid4()), "--working-directory", str(root)]
    command += ["--container-image", image] if image else []
    os.chdir(root)
    os.execv(sys.executable, command)  # noqa: S606 - signals must reach Dagster itself
