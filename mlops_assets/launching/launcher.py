"""The run launcher that starts a run where its tags say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import yaml
from dagster._core.launcher.base import (
    CheckRunHealthResult,
    LaunchRunContext,
    ResumeRunContext,
    RunLauncher,
    WorkerStatus,
)
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from mlops_assets.errors import EnvironmentProblemError
from mlops_assets.launching.allowed import check_names
from mlops_assets.launching.command_line import has_died
from mlops_assets.launching.overtime import is_over_time
from mlops_assets.launching.tags import (
    LAUNCHED_BY_TAG,
    LAUNCHER_TAG,
    PROCESS,
    environment_names,
)
from mlops_assets.launching.written import no_more_retries

if TYPE_CHECKING:
    from dagster import DagsterInstance

CLASSES = {
    PROCESS: ("mlops_assets.launching.process", "ProcessRunLauncher"),
    "docker": ("mlops_assets.launching.docker", "ProjectDockerRunLauncher"),
    "ecs": ("mlops_assets.launching.ecs", "ProjectEcsRunLauncher"),
    "kubernetes": ("mlops_assets.launching.kubernetes", "ProjectK8sRunLauncher"),
}


class TaggedRunLauncher(RunLauncher["DagsterInstance"], ConfigurableClass):
    """Starts each run by the launcher that its tag names, and leaves it to that launcher.

    The choice is written on the run, so that whichever process asks later (the daemon after a
    restart, the web server) watches, resumes and stops it through the same one. A launcher's
    package is imported when a run first needs it.

    Args:
        launchers: Configuration by name; ``process`` is always there.
        missing: What happens to runs whose launcher is not configured: ``refuse`` them, or run
            them as a ``process``, as on a developer's machine.
        environment: Variables of this process that projects may ask for, as names or beginnings
            with a ``*``; by default any but the database's.
    """

    def __init__(
        self,
        inst_data: ConfigurableClassData | None = None,
        launchers: Mapping[str, Mapping[str, Any] | None] | None = None,
        missing: str = "refuse",
        environment: Sequence[str] | None = None,
    ) -> None:
        self._inst_data = inst_data
        self.configured = {PROCESS: None, **(launchers or {})}
        self.missing = missing
        self.environment = environment
        self._loaded: dict[str, RunLauncher[DagsterInstance]] = {}
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """The configuration that this was made from."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """What may stand in ``dagster.yaml``; each launcher checks its own part when it loads."""
        own = dg.Noneable(dg.Permissive())  # type: ignore[no-untyped-call]
        each = {name: dg.Field(own, is_required=False) for name in CLASSES}
        return {
            "launchers": dg.Field(each, is_required=False),
            "missing": dg.Field(
                dg.Enum("Missing", [dg.EnumValue("refuse"), dg.EnumValue(PROCESS)]),
                default_value="refuse",
            ),
            "environment": dg.Field([str], is_required=False),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> TaggedRunLauncher:
        """The launcher as configured."""
        return cls(inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Choose a launcher, write the choice down, and let it start the run.

        Raises:
            EnvironmentProblemError: This instance has no such launcher, or the run asks for
                variables that it may not have.
        """
        run = context.dagster_run
        name = self.choose(run.tags)
        if name != PROCESS:
            check_names(environment_names(dict(run.tags)), self.environment)
        self._instance.add_run_tags(run.run_id, {LAUNCHED_BY_TAG: name})
        tagged = self._instance.get_run_by_id(run.run_id) or run
        self.inner(name).launch_run(context._replace(dagster_run=tagged))

    def choose(self, tags: Mapping[str, str]) -> str:
        """The launcher for a run with these tags.

        Raises:
            EnvironmentProblemError: This instance has no such launcher.
        """
        name = tags.get(LAUNCHER_TAG, PROCESS)
        if name in self.configured and name in CLASSES:
            return name
        if self.missing == PROCESS and name in CLASSES:
            return PROCESS
        raise EnvironmentProblemError(
            f"this Dagster instance has no launcher {name!r}",
            where="run_launcher in dagster.yaml",
            found=", ".join(sorted(self.configured)),
            expected=f"{name}, which the project's `compute.launcher` asks for",
            fix=f"add `launchers: {{{name}: …}}` there, or change the project's `compute.launcher`",
        )

    def inner(self, name: str) -> RunLauncher[DagsterInstance]:
        """The launcher of that name, made on first use."""
        if name not in self._loaded:
            module, kind = CLASSES[name]
            text = yaml.safe_dump(dict(self.configured.get(name) or {}))
            made: Any = ConfigurableClassData(module, kind, text).rehydrate(as_type=None)
            launcher: RunLauncher[DagsterInstance] = made
            launcher.register_instance(self._instance)
            self._loaded[name] = launcher
        return self._loaded[name]

    def _of(self, run: dg.DagsterRun) -> RunLauncher[DagsterInstance]:
        """The launcher that started a run."""
        return self.inner(run.tags.get(LAUNCHED_BY_TAG, PROCESS))

    def terminate(self, run_id: str) -> bool:
        """Stop a run through the launcher that started it; one that took too long, for good."""
        record = self._instance.get_run_record_by_id(run_id)
        if record is None:
            return False
        run = record.dagster_run
        if is_over_time(record, self._instance.run_monitoring_max_runtime_seconds):
            self._instance.add_run_tags(run_id, no_more_retries(run.tags))
        return bool(self._of(run).terminate(run_id))

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Every run can be asked for; one whose launcher cannot say counts as running."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """What the launcher that started the run knows about its worker."""
        if LAUNCHED_BY_TAG not in run.tags:
            if has_died(run.tags):
                text = "the command that executed this run was killed"
                return CheckRunHealthResult(WorkerStatus.NOT_FOUND, text)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        launcher = self._of(run)
        if not launcher.supports_check_run_worker_health:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return launcher.check_run_worker_health(run)

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """What the launcher that started the run can tell about a failed worker."""
        return self._of(run).get_run_worker_debug_info(run, include_container_logs)

    @property
    def supports_resume_run(self) -> bool:
        """Whether any configured launcher can give a run a new worker."""
        return any(name != PROCESS for name in self.configured)

    def resume_run(self, context: ResumeRunContext) -> None:
        """Give a run a new worker through the launcher that started it."""
        self._of(context.dagster_run).resume_run(context)

    def join(self, timeout: int = 30) -> None:
        """Wait for the runs that were started here."""
        for launcher in self._loaded.values():
            launcher.join(timeout)

    def dispose(self) -> None:
        """Let go of what the launchers hold."""
        for launcher in self._loaded.values():
            launcher.dispose()
