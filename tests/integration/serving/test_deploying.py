"""Deployments on a real Triton: what goes live, what is refused, what stays."""

from __future__ import annotations

import shutil
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.errors import DeploymentError, LedgerConflictError, ServerUnavailableError
from mlops_assets.training.bundle import open_bundle
from mlops_assets.training.bundle_safety import file_table_id
from resources.triton.client import TritonClient

pytestmark = pytest.mark.triton


def test_a_first_and_a_second_version_go_live(world):
    first, second = world.bundle(1), world.bundle(2)
    one = world.deploy(first)
    assert (one.version, one.champion_before, one.loaded, one.unchanged) == (1, None, (1,), False)
    world.assert_serves(first, 1)
    two = world.deploy(second)
    assert (two.version, two.champion_before, two.loaded) == (2, 1, (2, 1))
    world.assert_serves(second, 2)
    assert world.actions == [("deploy", 1), ("promote", 1), ("deploy", 2), ("promote", 2)]
    assert world.last().evidence["why"] == "test"
    assert set(two.golden) == {"torch", "ONNX Runtime"}
    assert two.golden["torch"]["rows"] == 40


def test_the_live_bundle_again_changes_nothing(world):
    bundle = world.bundle(1)
    world.deploy(bundle)
    again = world.deploy(bundle, run_id="another run")
    assert (again.version, again.unchanged) == (1, True)
    assert world.actions == [("deploy", 1), ("promote", 1)]
    world.assert_serves(bundle, 1)


def test_strings_and_missing_values_reach_the_model_as_in_training(world):
    bundle = world.bundle(1)
    world.deploy(bundle)
    rows = [
        {"carrier": "北京"},
        {"carrier": "UA"},
        {"carrier": ""},
        {"carrier": "never seen"},
        {"x": None, "carrier": None},
    ]
    served = [world.ask(bundle, **row) for row in rows]
    assert served == pytest.approx([world.expected(bundle, **row) for row in rows], abs=1e-5)
    assert len({round(value, 3) for value in served[:3]}) == 3, "all categories look alike"


def test_old_versions_go_only_after_the_ledger_says_so(world):
    world = world.variant(keep_versions=2)
    for seed in (1, 2, 3):
        world.deploy(world.bundle(seed))
    assert world.state.serving == (3, 2)
    assert world.repository.versions(world.model) == [2, 3]
    world.assert_serves(world.bundle(3), 3)


def test_no_request_fails_while_versions_change(world, load):
    bundles = [world.bundle(seed) for seed in (1, 2, 3)]
    world.deploy(bundles[0])
    with load(world, bundles[0]) as clients:
        for bundle in (bundles[1], bundles[2], bundles[0], bundles[1]):
            world.deploy(bundle)
    assert not clients.errors
    assert len(clients.seconds) > 100
    right = [world.expected(bundle) for bundle in bundles]
    for answer in clients.answers:
        assert min(abs(answer - one) for one in right) < 1e-4, "an answer of no version"


# --- case 2: the server is away ------------------------------------------------------------------


def test_a_server_that_is_away_is_named_and_nothing_is_written(make_world, make_settings, tmp_path):
    world = make_world(make_settings(tmp_path / "home"))
    with pytest.raises(ServerUnavailableError, match="does not answer"):
        world.deploy(world.bundle(1))
    assert world.actions == []


def test_after_an_outage_the_same_deployment_succeeds(
    make_world, make_settings, start_server, tmp_path
):
    settings = make_settings(tmp_path / "home")
    start_server(settings).stop()
    world = make_world(settings)
    bundle = world.bundle(1)
    with pytest.raises(ServerUnavailableError):
        world.deploy(bundle, run_id="r1")
    start_server(settings)
    world = make_world(make_settings(tmp_path / "home"))
    assert world.deploy(bundle, run_id="r1").version == 1


def test_a_server_that_dies_under_way_leaves_the_champion_in_the_ledger(
    make_world, make_settings, start_server, tmp_path, monkeypatch
):
    server = start_server(make_settings(tmp_path / "home"))
    world = make_world(make_settings(tmp_path / "home"))
    first, second = world.bundle(1), world.bundle(2)
    world.deploy(first)

    monkeypatch.setattr("resources.triton.client.CONFIRM_SECONDS", 1.0)
    load = TritonClient.load

    def dies(self, model, versions):
        if model == world.model:
            server.stop()
        load(self, model, versions)

    with monkeypatch.context() as patch:
        patch.setattr(TritonClient, "load", dies)
        with pytest.raises(ServerUnavailableError):
            world.deploy(second)
    assert world.actions[-1] == ("abandon", 2)
    assert world.state.champion_version == 1
    config = (world.repository.root / world.model / "config.pbtxt").read_text()
    assert "versions: [1]" in config, "a restart of Triton would miss version 2"
    start_server(world.settings)
    world = make_world(make_settings(tmp_path / "home"))
    world.deploy(second)
    world.assert_serves(second, 3)


# --- cases 3 and 4: a bad candidate --------------------------------------------------------------


def changed(bundle, folder: Path, change) -> object:
    """A bundle whose graph was changed, with an id that fits: as if training had made it."""
    import json

    import onnx

    shutil.copytree(bundle.directory, folder)
    model = onnx.load(str(folder / "model.onnx"))
    change(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return resealed(folder, json)


def resealed(folder: Path, json) -> object:
    import hashlib

    document = json.loads((folder / "bundle.json").read_text())
    for name, entry in document["files"].items():
        body = (folder / name).read_bytes()
        entry.update({"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})
    document["id"] = file_table_id(document["files"])
    (folder / "bundle.json").write_text(json.dumps(document))
    return open_bundle(folder)


def published(world, bundle):
    """The bundle as the store gives it."""
    from resources.manifest import Draft

    collection = world.project.id.bundles_collection
    with world.store.staging(collection) as staged:
        shutil.copytree(bundle.directory, staged, dirs_exist_ok=True)
        manifest = world.store.publish(collection, staged, Draft(data_version=bundle.id))
    return open_bundle(world.store.path(manifest))


def unknown_operator(model):
    model.graph.node[0].op_type = "NoSuchOperator"


def not_a_number(model):
    from onnx import helper

    [last] = [node for node in model.graph.node if "probability" in node.output]
    last.output[0] = "finite"
    model.graph.node.append(helper.make_node("Log", ["negative"], ["probability"]))
    model.graph.node.insert(
        len(model.graph.node) - 1, helper.make_node("Sub", ["finite", "two"], ["negative"])
    )
    model.graph.initializer.append(helper.make_tensor("two", 1, [1], [2.0]))


def slightly_wrong(model):
    from onnx import helper

    [last] = [node for node in model.graph.node if "probability" in node.output]
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("Mul", ["before", "factor"], ["probability"]))
    model.graph.initializer.append(helper.make_tensor("factor", 1, [1], [0.99]))


def wide(model):
    from onnx import helper

    [last] = [node for node in model.graph.node if "probability" in node.output]
    last.output[0] = "narrow"
    model.graph.node.append(
        helper.make_node("Concat", ["narrow", "narrow"], ["probability"], axis=1)
    )
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (unknown_operator, "NoSuchOperator"),
        (not_a_number, "no finite numbers"),
        (slightly_wrong, "beyond the tolerance"),
        (wide, "shape"),
    ],
)
def test_a_bad_candidate_is_quarantined_and_the_champion_serves(
    world, tmp_path, load, change, reason
):
    champion = world.bundle(1)
    world.deploy(champion)
    bad = published(world, changed(world.bundle(2), tmp_path / "bad", change))
    with load(world, champion) as clients, pytest.raises(DeploymentError) as raised:
        world.deploy(bad)
    assert reason in str(raised.value)
    assert world.actions[-1] == ("quarantine", 2)
    assert reason in world.last().reason
    assert not clients.errors
    assert list(clients.answers) == pytest.approx([world.expected(champion)], abs=1e-4)
    world.assert_serves(champion, 1)
    assert world.deploy(world.bundle(3)).version == 3, "a version number was used again"


def test_an_unexpected_error_ends_the_deployment_too(world, monkeypatch):
    world.deploy(world.bundle(1))

    def interrupted(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mlops_assets.serving.deploy.compare_golden", interrupted)
        with pytest.raises(KeyboardInterrupt):
            world.deploy(world.bundle(2))
    assert world.actions[-1] == ("abandon", 2)
    world.assert_serves(world.bundle(1), 1)
    assert world.deploy(world.bundle(2), run_id="next").version == 3


# --- case 5: two at once -------------------------------------------------------------------------


def test_of_two_processes_one_wins_and_the_other_fails_by_name(world, child, tmp_path):
    bundles = [world.bundle(1), world.bundle(2)]
    world.deploy(world.bundle(3))
    go = tmp_path / "go"
    children = [
        child(world, bundle, run_id=f"run-{number}", wait_for=str(go))
        for number, bundle in enumerate(bundles)
    ]
    go.touch()
    answers = [one.answer() for one in children]
    winners = [number for number, answer in enumerate(answers) if "version" in answer]
    if len(winners) == 2:  # the second began after the first had ended
        assert sorted(answer["version"] for answer in answers) == [2, 3]
        world.assert_serves(bundles[max(winners, key=lambda n: answers[n]["version"])], 3)
        return
    assert len(winners) == 1
    assert answers[1 - winners[0]]["error"] == "LedgerConflictError"
    world.assert_serves(bundles[winners[0]], answers[winners[0]]["version"])
    numbers = [version for action, version in world.actions if action == "deploy"]
    assert len(numbers) == len(set(numbers))


def test_while_one_deploys_another_is_refused_by_name(world, monkeypatch):
    world.deploy(world.bundle(1))
    inside, done = threading.Event(), threading.Event()
    from mlops_assets.serving import candidate

    compare = candidate.compare_golden

    def slow(*args, **kwargs):
        inside.set()
        assert done.wait(60)
        return compare(*args, **kwargs)

    monkeypatch.setattr(candidate, "compare_golden", slow)
    first = threading.Thread(target=world.deploy, args=(world.bundle(2), "slow run"))
    first.start()
    assert inside.wait(60)
    try:
        with pytest.raises(LedgerConflictError, match="slow run"):
            world.deploy(world.bundle(3), run_id="hasty run")
    finally:
        done.set()
        first.join()
    world.assert_serves(world.bundle(2), 2)
    assert world.deploy(world.bundle(3)).version == 3


def test_a_deployment_older_than_the_lease_is_given_up(world, monkeypatch):
    world.deploy(world.bundle(1))
    world.ledger.append(
        "deploy",
        version=2,
        bundle_id="sha256:lost",
        run_id="a run on another machine",
        reason="",
        evidence={"host": "elsewhere", "pid": 1, "start_ticks": 1},
        expected_head=2,
    )
    with pytest.raises(LedgerConflictError, match="a run on another machine"):
        world.deploy(world.bundle(2))
    monkeypatch.setattr("resources.ledger.LEASE", timedelta(0))
    assert world.deploy(world.bundle(2)).version == 3
    assert ("abandon", 2) in world.actions
    world.assert_serves(world.bundle(2), 3)


# --- case 6: the answer is lost ------------------------------------------------------------------


def test_when_the_answer_to_a_load_is_lost_the_state_is_read_back(world, monkeypatch):
    world.deploy(world.bundle(1))
    call = TritonClient._call
    lost = []

    def loses(self, method, *args, **kwargs):
        answer = call(self, method, *args, **kwargs)
        if method == "load_model" and args[0] == world.model:
            lost.append(args)
            raise self._away("the connection broke")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(TritonClient, "_call", loses)
        result = world.deploy(world.bundle(2))
    assert len(lost) >= 1
    assert result.version == 2
    assert world.actions == [("deploy", 1), ("promote", 1), ("deploy", 2), ("promote", 2)]
    world.assert_serves(world.bundle(2), 2)


# --- case 9: the disk is full --------------------------------------------------------------------


def test_a_full_disk_leaves_nothing_behind(world, child):
    world.deploy(world.bundle(1))
    size = world.bundle(2).onnx_path.stat().st_size
    answer = child(world, world.bundle(2), run_id="full", largest_file=size - 1).answer()
    assert answer["error"] == "DeploymentError"
    assert "could not be written" in answer["text"]
    assert world.actions[-1] == ("abandon", 2)
    world.assert_serves(world.bundle(1), 1)
    assert np.isfinite(world.ask(world.bundle(1)))
    assert world.deploy(world.bundle(2)).version == 3
