"""A real Triton, shared by the session, and real bundles trained in a second."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import MlopsError
from mlops_assets.keys import ProjectId
from mlops_assets.serving.deploy import deploy
from mlops_assets.serving.predict import make_feeds
from mlops_assets.serving.result import DeploymentResult
from mlops_assets.training.bundle import Bundle, open_bundle
from mlops_assets.training.bundle_writer import write_bundle
from mlops_assets.training.scoring import open_session, run_session
from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train as run_training
from resources.ledger import Entry, Ledger, LedgerState
from resources.local_store import LocalStore
from resources.manifest import Draft
from resources.settings import Settings
from resources.triton import server as servers
from resources.triton.client import TritonClient
from resources.triton.environment import ensure_environment
from resources.triton.repository import ModelRepository
from resources.triton.server import TritonServer, find_triton, start_triton
from tests.ports import spare_port

ROOT = Path(__file__).resolve().parents[3]
START = datetime(2024, 1, 1, tzinfo=UTC)
CARRIERS = ("UA", "DL", "Ærø", "北京")


def written_spec(**deployment: Any) -> dict[str, Any]:
    """A small project as its YAML says it."""
    return {
        "description": "Will it be late?",
        "task": "binary",
        "sources": {"trips": {"type": "files", "uri": "trips", "format": "parquet"}},
        "features": {
            "query": "features.sql",
            "entity": "trip",
            "time": "at",
            "label": {"column": "late"},
            "inputs": {"numeric": ["x", "y"], "categorical": ["carrier", "origin"]},
        },
        "model": {"type": "mlp", "hidden": [64, 64]},
        "training": {"epochs": 2, "devices": "cpu"},
        "evaluation": {"split": {"by": "time", "test": "5d", "validation": 0.1}},
        "deployment": {"max_batch_size": 32, "golden_rows": 40, **deployment},
    }


def make_table(rows: int = 1200) -> pa.Table:
    """Trips an hour apart, whose label follows ``x`` and the carrier; some values are missing."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=rows)
    carrier = rng.integers(0, len(CARRIERS), rows)
    chance = 1 / (1 + np.exp(-(2 * x + 3 * (carrier - 1.5))))
    return pa.table(
        {
            "trip": pa.array([f"t{row}" for row in range(rows)]),
            "at": pa.array(
                [START + timedelta(hours=row) for row in range(rows)], pa.timestamp("us", tz="UTC")
            ),
            "x": pa.array(x, pa.float32(), mask=rng.random(rows) < 0.1),
            "y": pa.array(rng.normal(100, 20, rows), pa.float32()),
            "carrier": pa.array(np.array(CARRIERS)[carrier], mask=rng.random(rows) < 0.1),
            "origin": pa.array(np.array(["EWR", "JFK", "LGA"])[rng.integers(0, 3, rows)]),
            "late": pa.array((rng.random(rows) < chance).astype(np.int32)),
        }
    )


@dataclass
class World:
    """One project with a store, an own model name and a server that others may use too."""

    project: Project
    settings: Settings
    store: LocalStore
    train: Callable[[int], Path]

    def variant(self, *, changes: dict[str, Any] | None = None, **deployment: Any) -> World:
        """The same project with another ``deployment:`` and other parts."""
        written = {**written_spec(**deployment), **(changes or {})}
        spec = ProjectSpec.model_validate(written)
        return replace(self, project=replace(self.project, spec=spec, written=written))

    def bundle(self, seed: int = 7) -> Bundle:
        """A real bundle, published in the store; another seed is another bundle."""
        collection = self.project.id.bundles_collection
        trained = open_bundle(self.train(seed))
        known = self.store.find(collection, trained.id)
        if known is None:
            with self.store.staging(collection) as staged:
                shutil.copytree(trained.directory, staged, dirs_exist_ok=True)
                known = self.store.publish(collection, staged, Draft(data_version=trained.id))
        return open_bundle(self.store.path(known))

    def deploy(self, bundle: Bundle, run_id: str = "run") -> DeploymentResult:
        """Deploy from this process."""
        return deploy(
            self.project,
            bundle,
            store=self.store,
            settings=self.settings,
            run_id=run_id,
            reason="a test wants it",
            evidence={"why": "test"},
        )

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store, self.project.id.ledger_prefix)

    @property
    def state(self) -> LedgerState:
        return self.ledger.state(self.project.spec.deployment.keep_versions)

    @property
    def actions(self) -> list[tuple[str, int]]:
        return [(entry.action, entry.version) for entry in self.ledger.entries()]

    def last(self) -> Entry:
        return self.ledger.entries()[-1]

    @property
    def model(self) -> str:
        return self.project.id.triton_model

    @property
    def repository(self) -> ModelRepository:
        return ModelRepository(self.settings.triton_repository)

    def client(self) -> TritonClient:
        return TritonClient(self.settings.triton_grpc_url)

    def ready(self) -> set[int]:
        """Versions that serve under the name that clients call."""
        with self.client() as client:
            return client.ready_versions(self.model)

    def ask(self, bundle: Bundle, version: int | None = None, **row: Any) -> float:
        """The served answer for one row."""
        values = {"x": 0.5, "y": 110.0, "carrier": "Ærø", "origin": "JFK", **row}
        feeds = make_feeds([values], bundle.schema)
        with self.client() as client:
            answer = client.infer(self.model, version, feeds, bundle.schema.output_name)
        return float(answer[0, 0])

    def expected(self, bundle: Bundle, **row: Any) -> float:
        """ONNX Runtime's own answer for the row that :meth:`ask` sends."""
        values = {"x": 0.5, "y": 110.0, "carrier": "Ærø", "origin": "JFK", **row}
        session = open_session(str(bundle.onnx_path))
        return float(run_session(session, make_feeds([values], bundle.schema), bundle.schema)[0])

    def assert_serves(self, bundle: Bundle, version: int) -> None:
        """Ledger, disk and server agree: exactly one champion, and it is this bundle."""
        state = self.state
        assert (state.champion_version, state.champion and state.champion.bundle_id) == (
            version,
            bundle.id,
        )
        assert state.pending is None
        assert self.ready() == set(self.repository.versions(self.model))
        assert max(self.ready()) == version
        assert self.ask(bundle) == pytest.approx(self.expected(bundle), abs=1e-5)
        assert not list(self.settings.triton_repository.glob(".staging/*"))
        assert not (self.settings.triton_repository / self.project.id.triton_candidate).exists()
        with self.client() as client:
            assert not client.ready_versions(self.project.id.triton_candidate)


@pytest.fixture(scope="session", autouse=True)
def _own_ports() -> Iterator[None]:
    """Other ports than the usual ones, which other tests and people use."""
    with pytest.MonkeyPatch.context() as patch:
        first = spare_port()
        for number, name in enumerate(servers.PORTS):
            patch.setitem(servers.PORTS, name, first + number)
        yield


@pytest.fixture(scope="session")
def triton_environment() -> Path:
    """The embedded Triton's environment, kept from run to run."""
    cache = os.environ.get("MLOPS_TEST_CACHE")
    return ensure_environment(Path(cache) if cache else ROOT / ".mlops" / "triton", print)


@pytest.fixture(scope="session")
def make_settings() -> Callable[[Path], Settings]:
    """Settings with a private home and repository."""

    def make(home: Path) -> Settings:
        environ = {"MLOPS_HOME": str(home), "MLOPS_TRITON_REPOSITORY": str(home / "repository")}
        home.mkdir(parents=True, exist_ok=True)
        if find_triton(Settings.from_environment(environ, root=ROOT)) is None:
            nobody = spare_port()
            environ["MLOPS_TRITON_GRPC_URL"] = f"127.0.0.1:{nobody}"
            environ["MLOPS_TRITON_HTTP_URL"] = f"http://127.0.0.1:{nobody}"
        return Settings.from_environment(environ, root=ROOT)

    return make


@pytest.fixture
def start_server(triton_environment: Path) -> Iterator[Callable[[Settings], TritonServer]]:
    """Starts servers of a test's own, and stops them whatever happens."""
    started: list[TritonServer] = []

    def start(settings: Settings) -> TritonServer:
        started.append(start_triton(settings, triton_environment))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory,
    triton_environment: Path,
    make_settings: Callable[[Path], Settings],
) -> Iterator[Settings]:
    """Settings of one server that all tests use that do not harm it."""
    home = tmp_path_factory.mktemp("triton-home")
    server = start_triton(make_settings(home), triton_environment)
    yield make_settings(home)
    server.stop()


@pytest.fixture(scope="session")
def train(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Trains a real bundle in a second or two; once per seed and session."""
    folder = tmp_path_factory.mktemp("trained")

    @functools.cache
    def make(seed: int) -> Path:
        written = written_spec()
        written["training"]["seed"] = seed
        spec = ProjectSpec.model_validate(written)
        project = Project(ProjectId("rail", "base"), spec, folder, written)
        table = make_table()
        split = split_rows(table, spec)
        result = run_training(table, split, project, checkpoints=folder / f"checkpoints-{seed}")
        target = folder / str(seed)
        target.mkdir()
        version = "sha256:" + "0" * 64
        write_bundle(
            target, project, result, table, split, features_version=version, code_version="test"
        )
        return target

    return make


@pytest.fixture
def make_world(
    tmp_path: Path, train: Callable[[int], Path], request: pytest.FixtureRequest
) -> Callable[[Settings], World]:
    """A project with a name and a store of its own, on the server of the given settings."""

    def make(settings: Settings) -> World:
        words = "".join(c if c.isalnum() else " " for c in request.node.name.lower()).split()
        name = "p_" + "_".join(words)[:50].strip("_")
        written = written_spec()
        spec = ProjectSpec.model_validate(written)
        project = Project(ProjectId("rail", name), spec, tmp_path, written)
        store = LocalStore(tmp_path / "store")
        return World(project, replace(settings, store_uri=store.uri), store, train)

    return make


@pytest.fixture
def world(make_world: Callable[[Settings], World], shared_server: Settings) -> World:
    """A fresh project on the shared server."""
    return make_world(shared_server)


class Load:
    """Clients that ask the live model without a pause, over gRPC."""

    def __init__(self, world: World, bundle: Bundle, clients: int = 4) -> None:
        self.world, self.bundle = world, bundle
        self.errors: list[str] = []
        self.answers: set[float] = set()
        self.seconds: list[float] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.2)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        row = {"x": 0.5, "y": 110.0, "carrier": "Ærø", "origin": "JFK"}
        feeds = make_feeds([row], self.bundle.schema)
        output = self.bundle.schema.output_name
        with self.world.client() as client:
            while not self._stop.is_set():
                before = time.monotonic()
                try:
                    answer = client.infer(self.world.model, None, feeds, output)
                except MlopsError as error:
                    self.errors.append(str(error))
                else:
                    self.answers.add(round(float(answer[0, 0]), 5))
                self.seconds.append(time.monotonic() - before)


@pytest.fixture
def load() -> type[Load]:
    """Clients under way for the time of a block."""
    return Load


class Child:
    """A deployment in a process of its own."""

    def __init__(self, world: World, bundle: Bundle, **order: Any) -> None:
        settings = {name: str(value) for name, value in asdict(world.settings).items()}
        self.order = {
            "project": str(world.project.id),
            "written": world.project.written,
            "directory": str(world.project.directory),
            "settings": settings,
            "bundle": bundle.id,
            "run_id": "child",
            **order,
        }
        script = Path(__file__).with_name("deploying_child.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(self.order)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def wait(self) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        output, errors = self.process.communicate(timeout=120)
        return self.process.returncode, output, errors

    def answer(self) -> dict[str, Any]:
        """What it printed."""
        code, output, errors = self.wait()
        assert code == 0, errors
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
        return answer


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """Starts deployments in processes of their own; none outlives the test."""
    children: list[Child] = []

    def start(world: World, bundle: Bundle, **order: Any) -> Child:
        children.append(Child(world, bundle, **order))
        return children[-1]

    yield start
    for one in children:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
