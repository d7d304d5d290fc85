"""The embedded server: loopback only, no secrets, one at a time, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from mlops_assets.errors import DeploymentError, EnvironmentProblemError
from mlops_assets.serving.reconcile import reconcile
from resources.processes import HOST, ProcessRecord, free_port
from resources.settings import TRITON_RECORD
from resources.triton import server as servers

pytestmark = pytest.mark.triton

ROOT = Path(__file__).resolve().parents[3]
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
"""127.0.0.1 as the kernel writes it, and the same as an IPv6 address."""


def group_of(record):
    """Process ids of a server and of everything that it started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == record.pid and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found


def listening(pids):
    """Addresses on which processes listen, from ``/proc``."""
    links = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                links.add(str(descriptor.readlink()))
            except FileNotFoundError:
                continue
    addresses = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in links:
                address, _, port = fields[1].rpartition(":")
                addresses.append((address, int(port, 16)))
    return addresses


def variables_of(pid):
    """Names and values of a process's environment."""
    return Path(f"/proc/{pid}/environ").read_text().split("\0")


def eventually(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.1)


@pytest.fixture
def home(tmp_path, make_settings):
    """Settings of a server that does not run yet."""
    return make_settings(tmp_path / "home")


def test_it_listens_on_loopback_only(world):
    world.deploy(world.bundle(1))
    record = ProcessRecord.load(world.settings.home / TRITON_RECORD)
    addresses = listening(group_of(record))
    assert {port for _, port in addresses} == set(record.ports.values())
    assert {address for address, _ in addresses} <= LOOPBACK


def test_over_http_nobody_loads_or_unloads(world):
    """A web page in a browser of this machine can post to loopback without asking."""
    world.deploy(world.bundle(1))
    address = world.settings.triton_http_url
    for path in (
        f"repository/models/{world.model}/unload",
        f"repository/models/{world.model}/load",
        "repository/index",
        "logging",
        "systemsharedmemory/region/all/unregister",
    ):
        answer = requests.post(f"{address}/v2/{path}", data="{}", timeout=30)
        assert answer.status_code == 403, (path, answer.text)
    world.assert_serves(world.bundle(1), 1)


def test_the_backend_finds_its_library_and_no_other(world):
    world.deploy(world.bundle(1))
    record = ProcessRecord.load(world.settings.home / TRITON_RECORD)
    folders = [v for v in variables_of(record.pid) if v.startswith("LD_LIBRARY_PATH=")]
    for value in folders:
        for folder in value.partition("=")[2].split(":"):
            names = [entry.name for entry in Path(folder).iterdir()]
            assert len(names) == 1
            assert names[0].startswith("libpython")


def test_secrets_do_not_reach_it(world, home, start_server, make_world, make_settings, monkeypatch):
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2-hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-hunter2")
    server = start_server(home)
    own = make_world(make_settings(home.home))
    own.deploy(own.bundle(1))
    processes = group_of(server.record)
    assert len(processes) >= 2, "the backend's process was not looked at"
    for pid in processes:
        assert not [v for v in variables_of(pid) if "hunter2" in v]
    for path in (*home.triton_repository.rglob("*.pbtxt"), server.log):
        assert "hunter2" not in path.read_text()


def test_a_stop_leaves_no_process(home, start_server, make_world, make_settings):
    server = start_server(home)
    own = make_world(make_settings(home.home))
    own.deploy(own.bundle(1))
    processes = group_of(server.record)
    assert len(processes) >= 2
    server.stop()
    assert group_of(server.record) == []
    assert servers.find_triton(home) is None


def test_after_its_sudden_death_its_backends_end_and_a_new_one_takes_over(
    home, start_server, make_world, make_settings
):
    first = start_server(home)
    own = make_world(make_settings(home.home))
    own.deploy(own.bundle(1))
    os.kill(first.record.pid, signal.SIGKILL)
    first.process.wait()
    assert servers.find_triton(home) is None
    eventually(lambda: group_of(first.record) == [])
    second = start_server(home)
    assert second.record.pid != first.record.pid
    again = make_world(make_settings(home.home))
    done = reconcile([again.project], store=again.store, settings=again.settings)
    assert done
    again.assert_serves(again.bundle(1), 1)


STARTER = """
import sys
from pathlib import Path
from resources.settings import Settings
from resources.triton.server import ensure_triton
home, environments, root = sys.argv[1:]
settings = Settings.from_environment(
    {"MLOPS_HOME": home, "MLOPS_TRITON_REPOSITORY": home + "/repository",
     "MLOPS_TRITON_ENVIRONMENTS": environments}, root=Path(root))
print("ready", flush=True)
sys.stdin.readline()
server = ensure_triton(settings, say=lambda text: None)
print(server.record.pid, server.is_ready(), server.process is not None)
"""


def starter(folder, environment):
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder), str(environment.parent), str(ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def together(children):
    """Let processes go on at the same time; what they say then."""
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    return [child.communicate(timeout=90)[0].split() for child in children]


@pytest.fixture
def stop_later():
    """Stops the servers of these homes after the test."""
    homes = []
    yield homes.append
    for folder in homes:
        record = ProcessRecord.load(folder / TRITON_RECORD)
        if record is not None:
            servers.stop_group(record)


def test_of_two_starts_at_once_one_starts_and_both_find_it(
    tmp_path, triton_environment, stop_later
):
    home = tmp_path / "home"
    stop_later(home)
    answers = together([starter(home, triton_environment) for _ in range(2)])
    assert {pid for pid, _, _ in answers} == {answers[0][0]}
    assert [ready for _, ready, _ in answers] == ["True", "True"]
    assert sorted(started for _, _, started in answers) == ["False", "True"]


def test_two_homes_at_once_get_servers_and_ports_of_their_own(
    tmp_path, triton_environment, stop_later
):
    """Both may choose the same free port; the slower one must not take the other for its own."""
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        stop_later(home)
    answers = together([starter(home, triton_environment) for home in homes])
    assert [ready for _, ready, _ in answers] == ["True", "True"]
    records = [ProcessRecord.load(home / TRITON_RECORD) for home in homes]
    ports = [port for record in records for port in record.ports.values()]
    assert len(set(ports)) == len(ports) == 6


def test_another_server_on_the_port_is_not_taken_for_it(home, start_server, monkeypatch):
    """The port is taken between its choice and the start: the next ones are used."""
    other = start_server(home)
    late = servers._choose_ports()
    wanted = [dict(other.record.ports), late]
    monkeypatch.setattr(servers, "_choose_ports", lambda: wanted.pop(0))

    elsewhere = replace(home, home=home.home / "elsewhere")
    elsewhere.home.mkdir()
    server = start_server(elsewhere)
    assert server.record.ports == late
    assert server.is_ready()
    assert wanted == []


def test_ports_are_the_usual_ones_or_the_next_free():
    chosen = servers._choose_ports()
    assert len(set(chosen.values())) == 3
    for name, port in chosen.items():
        assert port >= servers.PORTS[name]
    with socket.socket() as taken:
        # As servers do: connections of one that ended may still hold the port for a minute.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((HOST, chosen["grpc"]))
        taken.listen()
        others = servers._choose_ports()
    assert chosen["grpc"] not in others.values()
    assert others["http"] == chosen["http"]


def test_a_server_that_cannot_start_says_why_and_leaves_nothing(
    home, triton_environment, monkeypatch
):
    asked = []
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        ports = {**servers._choose_ports(), "grpc": taken.getsockname()[1]}
        monkeypatch.setattr(servers, "_choose_ports", lambda: asked.append(1) or ports)
        with pytest.raises(EnvironmentProblemError, match=f"{ports['grpc']}"):
            servers.start_triton(home, triton_environment)
    assert len(asked) == servers.START_ATTEMPTS
    assert servers.find_triton(home) is None


def test_an_interrupted_start_leaves_nothing(home, triton_environment, monkeypatch):
    started = []

    def interrupted(server):
        started.append(server.record)
        assert group_of(server.record)
        raise KeyboardInterrupt

    monkeypatch.setattr(servers, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        servers.start_triton(home, triton_environment)
    assert started
    assert group_of(started[0]) == []


def test_a_server_that_reads_another_repository_is_hinted_at(world, tmp_path):

    elsewhere = replace(world.settings, triton_repository=tmp_path / "another repository")
    with pytest.raises(DeploymentError, match="another model repository"):
        replace(world, settings=elsewhere).deploy(world.bundle(1))
    assert world.state.champion is None
    assert world.deploy(world.bundle(1)).version == 2


def test_up_status_and_down_from_the_command_line(tmp_path, triton_environment):
    root = tmp_path / "root"
    (root / "triton_repo").mkdir(parents=True)
    (root / "project_configs").mkdir()
    (root / "workspace.yaml").write_text("load_from: []\n")
    backend = Path("triton_repo/backends/onnxruntime/model.py")
    (root / backend).parent.mkdir(parents=True)
    (root / backend).write_bytes((ROOT / backend).read_bytes())
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLOPS_")}
    environment = {
        **kept,
        "MLOPS_ROOT": str(root),
        "MLOPS_TRITON_ENVIRONMENTS": str(triton_environment.parent),
    }

    def mlops(*arguments, code=0):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("mlops")), *arguments],
            env=environment,
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    assert "does not run" in mlops("triton", "status", code=1)
    try:
        first = mlops("triton", "up").splitlines()[-1]
        assert "http://127.0.0.1:" in first
        assert mlops("triton", "up").splitlines()[-1] == first
        assert "127.0.0.1" in mlops("triton", "status")
    finally:
        assert "stopped" in mlops("triton", "down")
    assert "does not run" in mlops("triton", "down")


def test_free_ports_are_checked_on_loopback():
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port


def test_each_server_has_the_backend_of_its_own_checkout(
    home, tmp_path, start_server, make_world, make_settings, world
):
    """The installed environment is shared; the code that answers must not be."""
    broken = replace(home, root=tmp_path / "another checkout")
    backend = broken.root / servers.BACKENDS / "onnxruntime" / "model.py"
    backend.parent.mkdir(parents=True)
    backend.write_text("raise RuntimeError('the other checkout')\n")
    start_server(broken)
    own = make_world(make_settings(home.home))
    with pytest.raises(DeploymentError, match="the other checkout"):
        own.deploy(own.bundle(1))
    result = world.deploy(world.bundle(1))
    world.assert_serves(world.bundle(1), result.version)
