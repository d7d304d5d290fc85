"""After kills and restarts: one champion, and disk, ledger and server agree again."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_assets.errors import DeploymentError, ParityError, ServerUnavailableError, StoreError
from mlops_assets.serving.reconcile import reconcile
from mlops_assets.serving.rollback import retire, rollback
from resources.durable import file_digest
from resources.triton.repository import ModelRepository

pytestmark = pytest.mark.triton

DEPLOY = "mlops_assets.serving.deploy"
REPOSITORY = "resources.triton.repository:ModelRepository"
CLIENT = "resources.triton.client:TritonClient"
LEDGER = "resources.ledger:Ledger"


def repair(world):
    return reconcile([world.project], store=world.store, settings=world.settings)


def go_back(world, version=None, **changes):
    arguments = {"store": world.store, "settings": world.settings, "run_id": "person"}
    return rollback(world.project, version=version, reason="a test", **(arguments | changes))


# --- case 1: kill -9 -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "live"),
    [
        (f"{LEDGER}.append:1:before", 1),
        (f"{LEDGER}.append:1:after", 1),
        ("shutil:copyfileobj:1:half", 1),
        ("resources.triton.repository:_copy:1:after", 1),
        (f"{REPOSITORY}.publish:1:after", 1),
        (f"{CLIENT}.load:1:after", 1),
        (f"{CLIENT}.unload:1:before", 1),
        ("shutil:copyfileobj:2:half", 1),
        ("resources.triton.repository:_copy:2:after", 1),
        (f"{REPOSITORY}.write_config:2:before", 1),
        (f"{REPOSITORY}.write_config:2:after", 1),
        (f"{CLIENT}.load:2:after", 1),
        (f"{LEDGER}.append:2:before", 1),
        (f"{LEDGER}.append:2:after", 2),
        (f"{REPOSITORY}.prune:1:before", 2),
    ],
)
def test_killed_anywhere_the_old_or_the_new_version_is_complete(world, child, point, live):
    world.deploy(world.bundle(1))
    code, _, errors = child(world, world.bundle(2), kill=point).wait()
    assert code == -signal.SIGKILL, errors
    assert 0 < world.ask(world.bundle(1)) < 1, "no answer between the kill and the repair"
    whole = {file_digest(world.bundle(seed).onnx_path) for seed in (1, 2)}
    for name in (world.model, world.project.id.triton_candidate):
        for version in world.repository.versions(name):
            assert world.repository.digest(name, version) in whole, "half a version is visible"
    repair(world)
    world.assert_serves(world.bundle(live), live)
    assert repair(world) == [], "a second repair found something to do"
    again = world.deploy(world.bundle(2), run_id="again")
    world.assert_serves(world.bundle(2), again.version)
    begun = [version for action, version in world.actions if action == "deploy"]
    assert len(begun) == len(set(begun)), "a version number was used twice"


def test_after_a_kill_the_next_deployment_needs_no_repair(world, child):
    world.deploy(world.bundle(1))
    code, _, errors = child(world, world.bundle(2), kill=f"{CLIENT}.load:2:after").wait()
    assert code == -signal.SIGKILL, errors
    result = world.deploy(world.bundle(3), run_id="next")
    assert result.version == 3
    assert world.actions[-3:] == [("abandon", 2), ("deploy", 3), ("promote", 3)]
    world.assert_serves(world.bundle(3), 3)


# --- case 7: Triton restarts ---------------------------------------------------------------------


def test_a_restarted_server_serves_what_the_ledger_says(
    make_world, make_settings, start_server, tmp_path
):
    home = tmp_path / "home"
    server = start_server(make_settings(home))
    world = make_world(make_settings(home))
    for seed in (1, 2, 3):
        world.deploy(world.bundle(seed))
    go_back(world)
    world.assert_serves(world.bundle(2), 2)
    server.stop()
    with pytest.raises(ServerUnavailableError):
        repair(world)
    start_server(make_settings(home))
    world = replace(world, settings=replace(make_settings(home), store_uri=world.store.uri))
    assert world.ready() == set()
    assert any("loaded" in str(correction) for correction in repair(world))
    world.assert_serves(world.bundle(2), 2)
    assert world.ready() == {1, 2}


def test_damaged_and_missing_files_come_back_from_the_bundle(world):
    world.deploy(world.bundle(1))
    world.deploy(world.bundle(2))
    folder = world.repository.root / world.model
    (folder / "2" / "model.onnx").write_bytes(b"damaged")
    (folder / "1" / "model.onnx").unlink()
    (folder / "config.pbtxt").write_text("nonsense")
    assert repair(world)
    world.assert_serves(world.bundle(2), 2)
    assert world.ask(world.bundle(1), version=1) > 0
    assert repair(world) == []


def test_a_dead_backend_is_found_by_asking_and_restarted(world):
    world.deploy(world.bundle(1))
    stubs = stub_processes(world.model)
    assert stubs
    for pid in stubs:
        os.kill(pid, signal.SIGKILL)
    assert world.ready() == {1}, "Triton noticed by itself: this test is void"
    with pytest.raises(DeploymentError):
        world.ask(world.bundle(1))
    assert any("restarted" in str(correction) for correction in repair(world))
    world.assert_serves(world.bundle(1), 1)


def test_a_dead_earlier_version_comes_back_while_the_champion_answers(world, load):
    for seed in (1, 2):
        world.deploy(world.bundle(seed))
    for pid in stub_processes(world.model, 1):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(DeploymentError):
        world.ask(world.bundle(1), version=1)
    before = stub_processes(world.model, 2)
    with load(world, world.bundle(2)) as clients:
        assert [c for c in repair(world) if "version 1 restarted" in str(c)]
    assert not clients.errors
    assert stub_processes(world.model, 2) == before, "the champion was restarted too"
    right = world.expected(world.bundle(1))
    assert world.ask(world.bundle(1), version=1) == pytest.approx(right, abs=1e-5)


def stub_processes(model: str, version: int | None = None) -> list[int]:
    """Backend processes of a model (Triton names the model in their arguments)."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "triton_python_backend_stub" in command and f"/{model}/{version or ''}" in command:
            found.append(int(entry.name))
    return found


def test_a_wrong_model_behind_the_right_name_is_reported(world, monkeypatch):
    world.deploy(world.bundle(1))
    other = world.bundle(2)
    sha256 = other.info.files["model.onnx"]["sha256"]
    world.repository.publish(world.model, 1, other.onnx_path, sha256)
    with world.client() as client:
        client.unload(world.model)
        client.load(world.model, {1})
    right = world.bundle(1).info.files["model.onnx"]["sha256"]
    monkeypatch.setattr(ModelRepository, "digest", lambda *_: right)
    with pytest.raises(DeploymentError, match="does not answer as it did"):
        repair(world)


def test_one_broken_project_does_not_keep_the_others_from_repair(world, tmp_path):
    import shutil

    from mlops_assets.keys import ProjectId

    broken = replace(world, project=replace(world.project, id=ProjectId("rail", "broken")))
    broken.deploy(broken.bundle(1))
    world.deploy(world.bundle(1))
    shutil.rmtree(broken.bundle(1).directory)
    with world.client() as client:
        client.unload(world.model)
    with pytest.raises(StoreError):
        reconcile([broken.project, world.project], store=world.store, settings=world.settings)
    world.assert_serves(world.bundle(1), 1)
    assert broken.ready() == {1}, "a model was taken offline because its bundle is gone"


def test_what_is_being_deployed_is_left_alone(world, monkeypatch):
    from mlops_assets.serving import deploy as deploying

    found = []
    compare = deploying.compare_golden

    def repaired_meanwhile(*args, **kwargs):
        found.append(repair(world))
        return compare(*args, **kwargs)

    world.deploy(world.bundle(1))
    monkeypatch.setattr(deploying, "compare_golden", repaired_meanwhile)
    world.deploy(world.bundle(2))
    assert found == [[]]
    world.assert_serves(world.bundle(2), 2)


# --- case 8: roll back ---------------------------------------------------------------------------


def test_rollback_is_instant_and_no_request_fails(world, load):
    for seed in (1, 2, 3):
        world.deploy(world.bundle(seed))
    with load(world, world.bundle(3)) as clients:
        result = go_back(world)
    assert (result.version, result.champion_before, result.loaded) == (2, 3, (2, 1))
    assert result.seconds < 10
    assert not clients.errors
    assert world.actions[-1] == ("rollback", 2)
    world.assert_serves(world.bundle(2), 2)


def test_the_second_rollback_and_the_next_deployment_pass_over_what_was_left(world):
    for seed in (1, 2, 3):
        world.deploy(world.bundle(seed))
    go_back(world)
    world.deploy(world.bundle(4))
    assert world.state.serving == (4, 2, 1), "the version that was left is loaded again"
    assert go_back(world).version == 2
    assert go_back(world).version == 1
    with pytest.raises(DeploymentError, match="no version was live before"):
        go_back(world)
    assert go_back(world, 3).version == 3
    world.assert_serves(world.bundle(3), 3)


def test_rollback_works_while_the_newest_version_is_broken(world):
    world.deploy(world.bundle(1))
    world.deploy(world.bundle(2))
    dead = stub_processes(world.model, 2)
    assert dead
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(DeploymentError):
        world.ask(world.bundle(2))
    go_back(world)
    world.assert_serves(world.bundle(1), 1)


def test_rollback_to_a_version_that_is_not_kept_builds_it_from_its_bundle(world):
    world = world.variant(keep_versions=1)
    for seed in (1, 2, 3):
        world.deploy(world.bundle(seed))
    assert world.repository.versions(world.model) == [3]
    assert go_back(world, 1).version == 1
    world.assert_serves(world.bundle(1), 1)


def test_rollback_to_a_bad_version_changes_nothing(world, monkeypatch):
    import shutil

    world = world.variant(keep_versions=1)
    world.deploy(world.bundle(1))
    world.deploy(world.bundle(2))
    with pytest.raises(DeploymentError, match="no such version"):
        go_back(world, 9)
    shutil.rmtree(world.bundle(1).directory)
    with pytest.raises(StoreError):
        go_back(world, 1)
    assert world.actions[-1] == ("promote", 2)
    world.assert_serves(world.bundle(2), 2)


def test_rollback_to_a_version_that_answers_wrongly_changes_nothing(world, monkeypatch):
    for seed in (1, 2):
        world.deploy(world.bundle(seed))

    def wrong(*_args):
        raise ParityError("differs")

    with monkeypatch.context() as patch:
        patch.setattr("mlops_assets.serving.rollback.compare_golden", wrong)
        patch.setattr("mlops_assets.serving.candidate.compare_golden", wrong)
        with pytest.raises(DeploymentError, match="differs"):
            go_back(world)
    assert world.actions[-1] == ("promote", 2)
    world.assert_serves(world.bundle(2), 2)


def test_a_deployment_that_a_rollback_overtakes_is_given_up(world, monkeypatch):
    from mlops_assets.serving import deploy as deploying

    for seed in (1, 2):
        world.deploy(world.bundle(seed))
    verify = deploying.verify_candidate

    def overtaken(*args, **kwargs):
        result = verify(*args, **kwargs)
        go_back(world)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(deploying, "verify_candidate", overtaken)
        with pytest.raises(DeploymentError, match="overtaken"):
            world.deploy(world.bundle(3))
    assert world.actions[-2:] == [("rollback", 1), ("abandon", 3)]
    world.assert_serves(world.bundle(1), 1)


def test_a_retired_model_is_offline_and_stays_so(world):
    world.deploy(world.bundle(1))
    retire(
        world.project,
        store=world.store,
        settings=world.settings,
        run_id="person",
        reason="no longer wanted",
    )
    assert world.ready() == set()
    assert not (world.repository.root / world.model).exists()
    assert repair(world) == []
    assert world.deploy(world.bundle(1)).version == 2
    world.assert_serves(world.bundle(1), 2)
