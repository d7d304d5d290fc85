"""``mlops``: the command line. Each command is imported only when it runs."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
import warnings
from types import TracebackType
from typing import Any, NamedTuple

import click

from mlops_assets.errors import MlopsError


class CommandEntry(NamedTuple):
    """A command: where it is defined, and its line in ``mlops --help``."""

    target: str
    summary: str


COMMANDS: dict[str, CommandEntry] = {
    "demo": CommandEntry("demo:demo", "Run the example projects and serve their models."),
    "up": CommandEntry("up:up", "Start Dagster and Triton, and keep them running."),
    "down": CommandEntry("up:down", "Stop what an earlier command left running."),
    "check": CommandEntry("check:check", "Report every problem of every project."),
    "schema": CommandEntry("schema:schema", "Print the JSON Schema or reference of defs.yaml."),
    "new": CommandEntry("new:new", "Start a new project."),
    "run": CommandEntry("run:run", "Take projects from raw data to a served model."),
    "backfill": CommandEntry("backfill:backfill", "Take partitions of a source again."),
    "replay": CommandEntry("replay:replay", "Play history as live traffic, with faults."),
    "backtest": CommandEntry("backtest:backtest", "Compare retrain policies on history."),
    "status": CommandEntry("status:status", "Show champions, versions, ages and last checks."),
    "metrics": CommandEntry("metrics:metrics", "Print metrics of growing sources."),
    "predict": CommandEntry("predict:predict", "Ask the live model."),
    "rollback": CommandEntry("rollback:rollback", "Serve an earlier version again."),
    "retire": CommandEntry("retire:retire", "Take a model offline."),
    "clean": CommandEntry("clean:clean", "Remove what killed runs left, and old copies."),
    "verify": CommandEntry("verify:verify", "Read everything in the store again."),
    "workspace": CommandEntry("workspace:workspace", "Print the code locations for production."),
    "code-server": CommandEntry("workspace:code_server", "Serve one team's code to Dagster."),
    "triton": CommandEntry("triton:triton", "Manage the embedded Triton server."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of a project's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command: click.Command = getattr(
            importlib.import_module(f"mlops_assets.cli.{module}"), attribute
        )
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one.

        Raises:
            click.UsageError: There is no such command.
        """
        from mlops_assets.config.problems import nearest

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = nearest(args[0], COMMANDS)
            hint = f" Did you mean {near}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error raised on purpose becomes a message and exit code 1."""
        try:
            return super().invoke(ctx)
        except MlopsError as error:
            if ctx.params.get("debug"):
                raise
            show_error(error)
            ctx.exit(1)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlops-assets", prog_name="mlops")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """From one YAML file per ML product to a served, watched and retrained model."""


def show_error(error: MlopsError) -> None:
    """Print an error to standard error: the problem in red, then its parts, without secrets."""
    from rich.console import Console
    from rich.text import Text

    redact = _redactor().redact
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    head = f"{error.where}: {error.problem}" if error.where else error.problem
    console.print(Text(redact(head), style="bold red"))
    parts = (("found", error.found), ("expected", error.expected), ("what to do", error.fix))
    for name, text in parts:
        if text:
            console.print(Text.assemble((f"  {name}: ", "dim"), redact(text)))


def _redactor() -> Any:
    """Knows the environment values that any project refers to."""
    from mlops_assets.config.loader import load_redactor
    from mlops_assets.config.redaction import Redactor
    from mlops_assets.errors import EnvironmentProblemError
    from resources.settings import Settings

    try:
        return load_redactor(Settings.from_environment().root, os.environ)
    except EnvironmentProblemError:
        return Redactor()


def _show_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """An unexpected error's traceback, without secrets."""
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(_redactor().redact(text))


def main() -> None:
    """Entry point of the ``mlops`` command."""
    sys.excepthook = _show_traceback
    warnings.filterwarnings("ignore", message=".*is currently in (beta|preview)")
    cli(prog_name="mlops")
