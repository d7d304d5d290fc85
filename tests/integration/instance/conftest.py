"""The production instance, once for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from instance_stack import InstanceStack, running_instance

from tests.postgres_server import PostgresServer, postgres_server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def shared_stack(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> Iterator[InstanceStack]:
    with running_instance(tmp_path_factory.mktemp("instance"), postgres) as stack:
        yield stack


@pytest.fixture
def stack(shared_stack: InstanceStack) -> Iterator[InstanceStack]:
    """The running instance, without the marks of earlier tests."""
    for file in shared_stack.place.iterdir():
        if file.is_file():
            file.unlink()
    yield shared_stack
    for team in ("alpha", "beta"):
        (shared_stack.place / f"{team}.go").touch()


@pytest.fixture
def instance(
    shared_stack: InstanceStack, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    for name, value in shared_stack.environment.items():
        if name.startswith(("DAGSTER_", "MLOPS_")):
            monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(shared_stack.environment["DAGSTER_HOME"]) as opened:
        yield opened
