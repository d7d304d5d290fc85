"""A run that is started again follows today's ``compute:``, and keeps what people asked for."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_assets.config.compute import ComputeSpec
from mlops_assets.launching.tags import compute_tags
from mlops_assets.launching.written import COMPUTE_TAG, no_more_retries, tag_changes

OLD = {"launcher": "docker", "cpu": 2, "image": "reg/run:1", "max_retries": 1, "timeout": "2h"}
NEW = {"launcher": "docker", "cpu": 4, "image": "reg/run:2", "max_retries": 3, "timeout": "6h"}


def wanted(compute: dict[str, Any]) -> dict[str, str]:
    return {"mlops/launcher": "process"} | compute_tags(ComputeSpec.model_validate(compute))


def submitted(found: dict[str, str], compute: dict[str, Any]) -> dict[str, str]:
    """The tags of a run that had these when it was submitted."""
    return found | tag_changes(found, wanted(compute), instance_retries=2)


def without_record(tags: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in tags.items() if name != COMPUTE_TAG}


def test_a_retry_follows_the_new_compute() -> None:
    first = submitted({}, OLD)
    assert without_record(first) == wanted(OLD)
    retry = submitted(first, NEW)
    assert without_record(retry) == wanted(NEW)
    assert submitted(retry, NEW) == retry


def test_a_persons_own_tags_win() -> None:
    first = submitted({"mlops/image": "mine:1", "note": "x"}, OLD)
    retry = submitted(first, NEW)
    assert retry["mlops/image"] == "mine:1"
    assert retry["note"] == "x"
    edited = submitted(retry | {"dagster/max_runtime": "60"}, OLD)
    assert edited["dagster/max_runtime"] == "60"
    assert edited["dagster/max_retries"] == "1"
    assert submitted(edited, NEW)["dagster/max_runtime"] == "60"


@pytest.mark.parametrize("launcher", ["docker", "ecs", "kubernetes"])
def test_what_is_no_longer_asked_for_asks_for_nothing(launcher: str) -> None:
    compute = {"launcher": launcher, "memory": "4Gi", "gpus": 1, "image": "i", "environment": ["A"]}
    first = submitted({}, compute | {"max_retries": 0, "timeout": "2h"})
    retry = submitted(first, {})
    assert retry["mlops/launcher"] == "process"
    assert retry["dagster/max_retries"] == "2"  # the instance's
    rest = without_record(retry).keys() - {"mlops/launcher", "dagster/max_retries"}
    assert {retry[name] for name in rest} <= {"", "{}"}
    assert rest >= {"dagster/max_runtime", "mlops/environment"}


def test_a_run_of_an_earlier_version_keeps_its_tags() -> None:
    old = wanted(OLD)
    assert without_record(submitted(old, NEW)) == old


def test_a_person_may_start_again_what_was_not_to_be_started_again() -> None:
    first = submitted({}, OLD)
    stopped = first | no_more_retries(first)
    assert stopped["dagster/max_retries"] == "0"
    assert without_record(submitted(stopped, OLD)) == wanted(OLD)
    plain = submitted({}, {})
    assert submitted(plain | no_more_retries(plain), {})["dagster/max_retries"] == "2"
