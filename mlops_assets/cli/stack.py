"""The local servers as one thing: Triton and Dagster, started, watched and stopped together."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from mlops_assets.cli.lifecycle import open_instance
from mlops_assets.config.project import Project
from resources.dagster_ui import DEFAULT_PORT, DagsterServer, find_dagster, start_dagster
from resources.settings import Settings
from resources.store import open_store

if TYPE_CHECKING:
    from resources.triton.server import TritonServer

WATCH_SECONDS = 2.0


class Stack:
    """Triton and Dagster on loopback.

    Args:
        settings: Where state is kept.
        console: Where progress is shown.
        port: Preferred port of the UI; the next free one is taken.
    """

    def __init__(self, settings: Settings, console: Console, port: int = DEFAULT_PORT) -> None:
        self.settings = settings
        self.console = console
        self.port = port
        self.triton: TritonServer | None = None
        self.dagster: DagsterServer | None = None

    def start_triton(self) -> None:
        """Start Triton if it does not run yet."""
        from resources.triton.server import ensure_triton

        self.triton = ensure_triton(self.settings, say=self._say)
        self.settings = Settings.from_environment(root=self.settings.root)

    def start_dagster(self) -> None:
        """Start Dagster's web server and daemon if they do not run yet, in the background."""
        with open_instance(self.settings):  # its files exist before two processes want them
            self.dagster = find_dagster(self.settings) or start_dagster(self.settings, self.port)

    def reconcile(self, projects: Sequence[Project]) -> None:
        """Make Triton serve what the ledger says."""
        from mlops_assets.serving.reconcile import reconcile

        store = open_store(self.settings.store_uri)
        for correction in reconcile(projects, store=store, settings=self.settings):
            self._say(str(correction))

    def watch(self, projects: Sequence[Project]) -> None:
        """Until interrupted: start again whatever ends, and say so."""
        while True:
            time.sleep(WATCH_SECONDS)
            if self.triton is not None and not self.triton.is_alive():
                self._say("Triton ended; starting it again")
                self.start_triton()
                self.reconcile(projects)
            if self.dagster is not None and not self.dagster.record.is_alive():
                self._say("Dagster ended; starting it again")
                self.start_dagster()

    def wait_for_ui(self) -> str:
        """Wait for Dagster's web server and return its address."""
        dagster = self.dagster or find_dagster(self.settings) or start_dagster(self.settings)
        with self.console.status("waiting for the Dagster UI"):
            dagster.wait_until_ready()
        return dagster.url

    def stop(self) -> None:
        """Stop what was started here; what ran before goes on."""
        for server in (self.dagster, self.triton):
            if server is not None and server.process is not None:
                server.stop()

    def _say(self, text: str) -> None:
        self.console.print(f"  {text}", highlight=False, markup=False)


@contextmanager
def running_stack(stack: Stack) -> Iterator[Stack]:
    """Start Triton for a block and stop all servers after it, also on Ctrl-C and SIGTERM."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        stack.start_triton()
        yield stack
    except KeyboardInterrupt:
        stack.console.print("\nstopping …")
    finally:
        signal.signal(signal.SIGTERM, before)
        stack.stop()
