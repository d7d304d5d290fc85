"""What clients of a live model get: over gRPC, over HTTP, from a shell, from the command line."""

from __future__ import annotations

import copy
import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import requests
import yaml

from mlops_assets.config.project import ProjectSpec
from mlops_assets.errors import DeploymentError, SchemaError, ServerUnavailableError
from mlops_assets.serving.predict import example_row, predict, render_request
from mlops_assets.serving.rollback import retire, rollback
from mlops_assets.serving.target import Target
from mlops_assets.serving.verify import verify_live
from mlops_assets.training.bundle import open_bundle
from mlops_assets.training.bundle_writer import write_bundle
from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train
from resources.manifest import Draft

pytestmark = pytest.mark.triton

ROW = {"x": 0.5, "y": 110.0, "carrier": "Ærø", "origin": "JFK"}
QUERY = "SELECT trip, at, late, x, y, carrier, origin FROM trips\n"


def ask(world, *rows):
    return predict(world.project, rows, store=world.store, settings=world.settings)


def onnx_answer(bundle, row):
    """ONNX Runtime's own answer, fed by hand."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(bundle.onnx_path), providers=["CPUExecutionProvider"]
    )
    feeds = {}
    for column in bundle.schema.inputs:
        value = row.get(column.name)
        if column.kind == "numeric":
            number = math.nan if value is None else value
            feeds[column.name] = np.array([[number]], dtype=np.float32)
        else:
            feeds[column.name] = np.array([["" if value is None else value]], dtype=object)
    return float(session.run(None, feeds)[0][0, 0])


# --- predictions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        {**ROW, "carrier": "北京"},
        {**ROW, "x": None},
        {**ROW, "carrier": None},
        {**ROW, "carrier": "never seen"},
        {},
    ],
    ids=["known", "other category", "no number", "no category", "unknown category", "nothing"],
)
def test_a_prediction_is_that_of_onnx_runtime(world, row):
    bundle = world.bundle(1)
    world.deploy(bundle)
    [answer] = ask(world, row)
    assert answer == {"probability": pytest.approx(onnx_answer(bundle, row), abs=1e-5)}


def test_categories_decide_what_is_served(world):
    """Bytes that were never decoded would all be the same unknown category."""
    world.deploy(world.bundle(1))
    answers = ask(world, *({**ROW, "carrier": name} for name in ("UA", "DL", "Ærø", "北京", "?")))
    assert len({answer["probability"] for answer in answers}) == 5


def test_more_rows_than_a_batch_keep_their_order(world):
    bundle = world.bundle(1)
    world.deploy(bundle)
    rows = [{**ROW, "x": number / 20} for number in range(70)]
    assert len(rows) > 2 * world.project.spec.deployment.max_batch_size
    answers = [answer["probability"] for answer in ask(world, *rows)]
    assert answers == pytest.approx([onnx_answer(bundle, row) for row in rows], abs=1e-5)


def test_an_unknown_column_is_named_with_its_neighbour(world):
    world.deploy(world.bundle(1))
    with pytest.raises(SchemaError, match="did you mean carrier"):
        ask(world, {**ROW, "carier": "UA"})
    with pytest.raises(SchemaError, match="x"):
        ask(world, {**ROW, "x": "fast"})


def test_before_a_first_deployment_and_after_a_retirement_nothing_is_live(world):
    with pytest.raises(DeploymentError, match="nothing is live"):
        ask(world, ROW)
    world.deploy(world.bundle(1))
    arguments = {"store": world.store, "settings": world.settings, "run_id": "person"}
    assert retire(world.project, reason="a test", **arguments) == 1
    with pytest.raises(DeploymentError, match="nothing is live"):
        ask(world, ROW)
    with pytest.raises(DeploymentError, match="nothing is live"):
        retire(world.project, reason="a test", **arguments)
    rollback(world.project, version=1, reason="after all", **arguments)
    world.assert_serves(world.bundle(1), 1)


# --- HTTP ----------------------------------------------------------------------------------------


def test_the_printed_curl_works_in_a_shell(world):
    bundle = world.bundle(1)
    result = world.deploy(bundle)
    done = subprocess.run(result.curl, shell=True, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["model_version"] == "1"
    served = answer["outputs"][0]["data"][0]
    assert served == pytest.approx(onnx_answer(bundle, example_row(bundle)), abs=1e-5)


def test_a_curl_survives_quotes_and_other_alphabets(world):
    bundle = world.bundle(1)
    world.deploy(bundle)
    url = Target.of(world.project, world.settings).predict_url(world.project)
    command = render_request(bundle, {**ROW, "carrier": """O'Hare "$(exit 9)" 北京"""}, url)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["outputs"][0]["name"] == "probability"


def test_a_curl_writes_medians_for_missing_numbers(world):
    bundle = world.bundle(1)
    medians = {column["name"]: column["median"] for column in bundle.preprocessing["numeric"]}
    command = render_request(bundle, {"carrier": "UA", "x": None}, "http://localhost/infer")
    assert "NaN" not in command
    [body] = [part for part in shlex.split(command) if part.startswith("{")]
    sent = {item["name"]: item["data"][0] for item in json.loads(body)["inputs"]}
    assert sent["x"] == pytest.approx(medians["x"], rel=1e-6)
    assert sent["carrier"] == "UA"


def test_the_live_model_is_verified_against_onnx_runtime(world):
    bundle = world.bundle(1)
    world.deploy(bundle)
    answer = verify_live(world.project, store=world.store, settings=world.settings)
    assert (answer.version, answer.agrees) == (1, True)
    assert answer.served == pytest.approx(answer.expected, abs=1e-5)


@pytest.mark.parametrize(("version", "seed"), [(2, 1), (1, 2)], ids=["version", "values"])
def test_verification_notices_what_the_ledger_does_not_say(world, version, seed):
    """Right values of another version, and another model behind the right version."""
    world.deploy(world.bundle(1))
    world.ledger.append(
        "promote",
        version=version,
        bundle_id=world.bundle(seed).id,
        run_id="forged",
        reason="never loaded",
        expected_head=world.state.head,
    )
    answer = verify_live(world.project, store=world.store, settings=world.settings)
    assert not answer.agrees


def test_verification_of_a_server_that_is_away_says_so(world, make_settings, tmp_path):
    world.deploy(world.bundle(1))
    with pytest.raises(ServerUnavailableError):
        verify_live(world.project, store=world.store, settings=make_settings(tmp_path / "away"))


def test_the_model_describes_itself_to_clients(world):
    world.deploy(world.bundle(1))
    answer = requests.get(
        Target.of(world.project, world.settings).model_url(world.project), timeout=5
    )
    described = answer.json()
    assert described["versions"] == ["1"]
    assert {(i["name"], i["datatype"]) for i in described["inputs"]} == {
        ("x", "FP32"),
        ("y", "FP32"),
        ("carrier", "BYTES"),
        ("origin", "BYTES"),
    }


# --- other inputs --------------------------------------------------------------------------------


def trained_on(world, inputs):
    """A bundle of the same project after its inputs were changed, published in the store."""
    written = copy.deepcopy(world.project.written)
    written["features"]["inputs"] = inputs
    project = replace(world.project, spec=ProjectSpec.model_validate(written), written=written)
    folder = world.project.directory / "other"
    folder.mkdir()
    table = make_table()
    split = split_rows(table, project.spec)
    result = train(table, split, project, checkpoints=world.project.directory / "checkpoints")
    version = "sha256:" + "0" * 64
    write_bundle(
        folder, project, result, table, split, features_version=version, code_version="test"
    )
    bundle = open_bundle(folder)
    collection = project.id.bundles_collection
    with world.store.staging(collection) as staged:
        shutil.copytree(folder, staged, dirs_exist_ok=True)
        manifest = world.store.publish(collection, staged, Draft(data_version=bundle.id))
    return open_bundle(world.store.path(manifest))


def make_table():
    """Trips an hour apart; late when ``x`` is high."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=600)
    hours = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=row) for row in range(600)]
    return pa.table(
        {
            "trip": [f"t{row}" for row in range(600)],
            "at": pa.array(hours, pa.timestamp("us", tz="UTC")),
            "x": pa.array(x, pa.float32()),
            "carrier": np.array(["UA", "DL"])[rng.integers(0, 2, 600)],
            "late": pa.array((x + rng.normal(size=600) > 0).astype(np.int32)),
        }
    )


def test_a_version_with_other_inputs_goes_live_and_back(world, load):
    """Versions of one Triton model share one configuration, so only one schema is loaded."""
    world.deploy(world.bundle(1))
    other = trained_on(world, {"numeric": ["x"], "categorical": ["carrier"]})
    world.deploy(other)
    assert world.ready() == {2}
    [answer] = ask(world, {"x": 0.5, "carrier": "UA"})
    expected = onnx_answer(other, {"x": 0.5, "carrier": "UA"})
    assert answer["probability"] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(SchemaError, match="no such input"):
        ask(world, ROW)
    arguments = {"store": world.store, "settings": world.settings, "run_id": "person"}
    rollback(world.project, version=None, reason="a test", **arguments)
    world.assert_serves(world.bundle(1), 1)


# --- rolled back from ----------------------------------------------------------------------------


def test_what_was_rolled_back_from_is_not_deployed_again_by_itself(world):
    arguments = {"store": world.store, "settings": world.settings, "run_id": "person"}
    world.deploy(world.bundle(1))
    world.deploy(world.bundle(2))
    rollback(world.project, version=None, reason="it was wrong", **arguments)
    before = world.actions
    with pytest.raises(DeploymentError, match=r"mlops rollback rail/\S+ --to 2"):
        world.deploy(world.bundle(2))
    assert world.actions == before
    world.assert_serves(world.bundle(1), 1)
    rollback(world.project, version=2, reason="it was right", **arguments)
    world.assert_serves(world.bundle(2), 2)
    assert world.deploy(world.bundle(2)).unchanged


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture
def mlops(world, tmp_path):
    """Runs ``mlops`` as a person does, in a project root with this world's project."""
    root = tmp_path / "root"
    folder = root / "project_configs" / world.project.id.team / world.project.id.name
    folder.mkdir(parents=True)
    (root / "workspace.yaml").write_text("load_from: []\n")
    defs = {"type": "mlops_assets.MLProject", "attributes": world.project.written}
    (folder / "defs.yaml").write_text(yaml.safe_dump(defs))
    (folder / "features.sql").write_text(QUERY)
    environment = {
        **os.environ,
        "MLOPS_ROOT": str(root),
        "MLOPS_STORE_URI": world.store.uri,
        "MLOPS_TRITON_GRPC_URL": world.settings.triton_grpc_url,
        "MLOPS_TRITON_HTTP_URL": world.settings.triton_http_url,
        "MLOPS_TRITON_REPOSITORY": str(world.settings.triton_repository),
    }

    def run(*arguments, code=0, text=None):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("mlops")), *arguments],
            env=environment,
            cwd=root,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_predict_rollback_and_retire_from_the_command_line(world, mlops):
    name = str(world.project.id)
    world.deploy(world.bundle(1))
    world.deploy(world.bundle(2))
    row = {"x": 0.25, "carrier": "DL"}
    printed = mlops("predict", name, "--input", "x=0.25", "--input", "carrier=DL")
    live = onnx_answer(world.bundle(2), row)
    assert json.loads(printed)["probability"] == pytest.approx(live, abs=1e-5)
    assert "did you mean x" not in mlops("predict", name, "--input", "origni=JFK", code=1)
    assert "is live" in mlops("rollback", name, "--reason", "worse on Mondays")
    assert world.last().reason == "worse on Mondays"
    printed = mlops("predict", name, "--rows", "-", text=json.dumps(row) + "\n")
    before = onnx_answer(world.bundle(1), row)
    assert json.loads(printed)["probability"] == pytest.approx(before, abs=1e-5)
    mlops("retire", name, code=2)
    assert "version 1 is offline" in mlops("retire", name, "--reason", "no longer wanted")
    assert (world.last().action, world.last().reason) == ("retire", "no longer wanted")
    assert world.ready() == set()
    assert "nothing is live" in mlops("predict", name, code=1)
