"""Runs as processes of their team's code server, noticed when that server is gone."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

if TYPE_CHECKING:
    from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
    from dagster._grpc.client import DagsterGrpcClient
    from dagster._serdes import ConfigurableClassData

SERVER_TAG = "mlops/code_server"
"""Run tag: identity of the code server that was asked to start the run."""
ENDING = "after telling it to shut down"
"""Words of Dagster's answer when a code server that waits for its runs is asked for another."""
ASK_SECONDS = 5
UNREACHABLE_SECONDS = 600


class ProcessRunLauncher(dg.DefaultRunLauncher):
    """Dagster's default launcher, which also notices that a code server is gone.

    A code server reports a worker of its own that died. Nobody reports the workers of a server that
    was killed together with them: their runs would go on for ever and keep their pool slots. A
    server that ``mlops code-server`` starts has an identity of its own for each start, so one that
    answers with another identity has lost its workers.

    Args:
        watch: Whether to look after code servers. Only where `mlops code-server` starts them:
            servers that `dagster dev` manages change their identity while runs go on.
        unreachable_seconds: A server that did not answer for so long is taken for gone.
    """

    def __init__(
        self,
        inst_data: ConfigurableClassData | None = None,
        watch: bool = False,
        unreachable_seconds: int = UNREACHABLE_SECONDS,
    ) -> None:
        super().__init__(inst_data)
        self.watch = watch
        self.unreachable_seconds = unreachable_seconds
        self._silent_since: dict[str, float] = {}

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """What may stand under ``process:``."""
        return {
            "watch": dg.Field(bool, default_value=False),
            "unreachable_seconds": dg.Field(int, default_value=UNREACHABLE_SECONDS),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> ProcessRunLauncher:
        """The launcher as configured."""
        return cls(inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Note the code server's identity, and let it start the run.

        Raises:
            DagsterUserCodeUnreachableError: The server is away, or ends after the runs that go on
                in it; the queue asks again later.
        """
        from dagster._core.errors import DagsterLaunchFailedError, DagsterUserCodeUnreachableError

        run = context.dagster_run
        if self.watch and context.workspace and run.remote_job_origin:
            origin = run.remote_job_origin.repository_origin.code_location_origin
            location = context.workspace.get_code_location(origin.location_name)
            client = cast("GrpcServerCodeLocation", location).client
            self._instance.add_run_tags(run.run_id, {SERVER_TAG: client.get_server_id()})
        try:
            super().launch_run(context)
        except DagsterLaunchFailedError as error:
            if ENDING not in str(error):
                raise
            text = f"the code server of run {run.run_id} is being stopped and starts no more runs"
            raise DagsterUserCodeUnreachableError(text) from error

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether code servers are looked after."""
        return self.watch

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the code server that started the run is still the same."""
        from dagster._core.errors import DagsterUserCodeUnreachableError

        expected, address = run.tags.get(SERVER_TAG), run.tags.get(GRPC_INFO_TAG)
        if not expected or not address:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            found = _client(address).get_server_id(timeout=ASK_SECONDS)
        except DagsterUserCodeUnreachableError:
            return self._silent(run.run_id)
        self._silent_since.pop(run.run_id, None)
        if found == expected:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        text = "the code server was started again, and its run workers ended with it"
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, text)

    def _silent(self, run_id: str) -> CheckRunHealthResult:
        """Silence is counted for each run: nobody asks a server of which no run is going on."""
        now = time.monotonic()
        seconds = now - self._silent_since.setdefault(run_id, now)
        if seconds < self.unreachable_seconds:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        self._forget(run_id, before=now - 2 * self.unreachable_seconds)
        text = f"the code server has not answered for {seconds:.0f} s"
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, text)

    def _forget(self, run_id: str, before: float) -> None:
        """Forget a run that is lost, and runs that ended long ago while their server was silent."""
        del self._silent_since[run_id]
        known = self._silent_since.items()
        self._silent_since = {other: since for other, since in known if since > before}


def _client(address: str) -> DagsterGrpcClient:
    from dagster._grpc.client import DagsterGrpcClient

    info = json.loads(address)
    return DagsterGrpcClient(
        port=info.get("port"),
        socket=info.get("socket"),
        host=info.get("host", "localhost"),
        use_ssl=bool(info.get("use_ssl", False)),
    )
