"""Runs and launchers for tests: a run as a code location would submit it."""

from __future__ import annotations

from typing import Any, ClassVar

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher.base import CheckRunHealthResult, RunLauncher, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._serdes import ConfigurableClass


@dg.job
def lifecycle() -> None:
    """A job without steps."""


def make_run(
    instance: dg.DagsterInstance, tags: dict[str, str], image: str | None = "reg/code:1"
) -> dg.DagsterRun:
    """A queued run of a code server ``shop``."""
    server = GrpcServerCodeLocationOrigin(host="shop", port=4000, location_name="shop")
    remote = RemoteJobOrigin(RemoteRepositoryOrigin(server, "__repository__"), "lifecycle")
    pointer = ModuleCodePointer("launching_runs", "lifecycle", None)
    code = RepositoryPythonOrigin(
        executable_path="python",
        code_pointer=pointer,
        container_image=image,
        entry_point=["dagster"],
        container_context={},
    )
    return instance.create_run_for_job(
        lifecycle,
        tags=tags,
        remote_job_origin=remote,
        job_code_origin=JobPythonOrigin("lifecycle", code),
    )


class RecordingLauncher(RunLauncher, ConfigurableClass):
    """Says what it was asked for."""

    asked: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, inst_data: Any = None, name: str = "") -> None:
        self._inst_data = inst_data
        self.name = name
        super().__init__()

    @property
    def inst_data(self) -> Any:
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        return {"name": str}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> RecordingLauncher:
        return cls(inst_data, **config_value)

    def launch_run(self, context: Any) -> None:
        self.asked.append((self.name, "launch"))

    def terminate(self, run_id: str) -> bool:
        self.asked.append((self.name, "terminate"))
        return True

    supports_check_run_worker_health = True
    supports_resume_run = True

    def check_run_worker_health(self, run: Any) -> CheckRunHealthResult:
        self.asked.append((self.name, "health"))
        return CheckRunHealthResult(WorkerStatus.FAILED)

    def resume_run(self, context: Any) -> None:
        self.asked.append((self.name, "resume"))

    def get_run_worker_debug_info(self, run: Any, include_container_logs: Any = True) -> str:
        self.asked.append((self.name, "debug"))
        return self.name
