"""A project cannot have every variable of the daemon copied into its runs."""

from __future__ import annotations

import pytest
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.test_utils import instance_for_test
from launching_runs import RecordingLauncher, make_run

from mlops_assets.config.compute import ComputeSpec
from mlops_assets.errors import EnvironmentProblemError
from mlops_assets.launching.allowed import check_names
from mlops_assets.launching.launcher import CLASSES
from mlops_assets.launching.tags import compute_tags


@pytest.mark.parametrize(
    "name", ["DAGSTER_PG_PASSWORD", "DAGSTER_PG_URL", "POSTGRES_PASSWORD", "PGPASSWORD"]
)
def test_the_databases_variables_are_refused_by_name(name: str) -> None:
    with pytest.raises(EnvironmentProblemError) as caught:
        check_names(["MLOPS_STORE_URI", name], None)
    assert caught.value.found == name
    assert "any but DAGSTER_PG_*" in str(caught.value)
    assert "compute.environment" in str(caught.value)


def test_a_list_allows_what_it_names() -> None:
    allowed = ["MLOPS_*", "AWS_ROLE_ARN", "PGPASSWORD"]
    check_names(["MLOPS_STORE_URI", "AWS_ROLE_ARN", "PGPASSWORD"], allowed)
    check_names([], [])
    for names, list_ in ((["AWS_SECRET_ACCESS_KEY", "XMLOPS_A"], allowed), (["A"], [])):
        with pytest.raises(EnvironmentProblemError) as caught:
            check_names(names, list_)
        assert caught.value.found == ", ".join(names)
        assert caught.value.expected == (" or ".join(list_) or "none")


def test_a_launch_is_refused_and_a_process_is_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLASSES, "ecs", ("launching_runs", "RecordingLauncher"))
    monkeypatch.setitem(CLASSES, "process", ("launching_runs", "RecordingLauncher"))
    monkeypatch.setattr(RecordingLauncher, "asked", [])
    config = {
        "launchers": {"ecs": {"name": "e"}, "process": {"name": "p"}},
        "environment": ["MLOPS_*"],
    }
    launcher = {"module": "mlops_assets.launching", "class": "TaggedRunLauncher", "config": config}
    with instance_for_test(overrides={"run_launcher": launcher}) as instance:
        for name in ("MLOPS_STORE_URI", "TOKEN"):
            tags = compute_tags(ComputeSpec(launcher="ecs", environment=(name,)))
            context = LaunchRunContext(make_run(instance, tags), None)
            if name == "TOKEN":
                with pytest.raises(EnvironmentProblemError, match="TOKEN"):
                    instance.run_launcher.launch_run(context)
            else:
                instance.run_launcher.launch_run(context)
        by_hand = make_run(instance, tags | {"mlops/launcher": "process"})
        instance.run_launcher.launch_run(LaunchRunContext(by_hand, None))
    assert RecordingLauncher.asked == [("e", "launch"), ("p", "launch")]
