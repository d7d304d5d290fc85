"""One YAML, once through, and again: real Spark, torch, ONNX Runtime, Triton and Dagster.

The tests of this module build on each other's world and run in the order in which they stand.
"""

from __future__ import annotations

import json

import pytest
from shop_world import ID, QUERY, World, visits

from mlops_assets.cli.lifecycle import RunOutcome, open_instance
from mlops_assets.serving.predict import predict
from mlops_assets.serving.reconcile import reconcile
from mlops_assets.serving.rollback import rollback
from mlops_assets.serving.verify import verify_live

pytestmark = [pytest.mark.spark, pytest.mark.triton, pytest.mark.slow]

Live = tuple[World, RunOutcome]


def test_raw_data_become_a_served_model(live: Live) -> None:
    world, outcome = live
    assert outcome.failures == {}
    assert outcome.success
    assert outcome.metadata["evaluation"]["verdict"] == "promote"
    assert outcome.metadata["model"]["processes"] == 1
    assert [entry.action for entry in world.ledger()] == ["deploy", "promote"]
    answer = verify_live(world.project(), store=world.store, settings=world.settings)
    assert answer.agrees
    assert answer.version == 1


def test_the_model_answers_for_missing_and_unseen_values(live: Live) -> None:
    world, _ = live
    rows = [
        {"age": 70, "spend": 5, "city": "Oslo"},
        {"age": 20, "spend": 300, "city": "Bonn"},
        {"age": None, "spend": None, "city": "Atlantis"},
    ]
    settings = world.settings
    likely, unlikely, unknown = (
        answer["probability"]
        for answer in predict(world.project(), rows, store=world.store, settings=settings)
    )
    assert likely > 0.7
    assert unlikely < 0.3
    assert 0 < unknown < 1


def test_every_expectation_is_a_check_and_a_warning_does_not_block(live: Live) -> None:
    world, outcome = live
    checks = world.check_events(outcome.run_id)
    assert checks["promotion"]
    failed = {name for name, passed in checks.items() if not passed}
    assert len(checks) == 5
    assert len(failed) == 1
    assert "between" in failed.pop()


def test_personal_data_are_in_no_event(live: Live) -> None:
    world, outcome = live
    with open_instance(world.settings) as instance:
        text = json.dumps([str(entry) for entry in instance.all_logs(outcome.run_id)])
    assert "secret" not in text
    assert "email" in text  # the column itself is shown


def test_unchanged_data_retrain_nothing(live: Live) -> None:
    world, _ = live
    before = {c: world.versions(c) for c in (ID.features_collection, ID.bundles_collection)}
    entries = world.ledger()
    again = world.run()
    assert again.success
    assert {c: world.versions(c) for c in before} == before
    assert world.ledger() == entries
    assert again.metadata["model"]["unchanged"]
    assert again.metadata["deployment"]["unchanged"]
    assert again.metadata["evaluation"]["verdict"] == "unchanged"
    assert len(world.check_events(again.run_id)) == 5


def test_bad_data_are_refused_and_the_champion_stays(live: Live) -> None:
    """Case 11 to 14: what fails a check is never visible, not even to a later run."""
    world, _ = live
    raw = ID.raw_collection("visits")
    before, entries = world.versions(raw), world.ledger()
    world.add("b.parquet", visits(20, 4000, null_share=0.9))
    outcome = world.run()
    assert not outcome.success
    assert set(outcome.failures) == {"raw/visits"}
    assert "not_be_null__spend" in outcome.failures["raw/visits"]
    assert world.versions(raw) == before
    assert world.ledger() == entries
    failed = [n for n, passed in world.check_events(outcome.run_id).items() if not passed]
    assert any("not_be_null" in name for name in failed)
    (world.data / "b.parquet").unlink()


def test_new_data_train_a_challenger_that_is_compared_on_the_same_rows(live: Live) -> None:
    world, _ = live
    world.add("b.parquet", visits(20, 4000))
    outcome = world.run()
    assert outcome.failures == {}
    assert outcome.metadata["evaluation"]["verdict"] == "promote"
    assert outcome.metadata["deployment"]["live_version"] == 2
    assert outcome.metadata["deployment"]["version_before"] == 1
    assert world.versions(ID.bundles_collection)[0] != world.versions(ID.bundles_collection)[-1]


def test_a_model_that_misses_a_gate_is_not_deployed(live: Live) -> None:
    world, _ = live
    world.write_defs(gate=0.999)
    entries = world.ledger()
    world.add("c.parquet", visits(40, 4000))
    outcome = world.run()
    assert not outcome.success
    assert outcome.metadata["evaluation"]["verdict"] == "reject"
    assert "deployment" not in outcome.metadata
    assert not world.check_events(outcome.run_id)["promotion"]
    assert world.ledger() == entries
    deployed = world.run("deployment")
    assert "did not accept" in deployed.failures["deployment"]
    assert world.ledger() == entries
    world.write_defs()


def test_a_run_uses_the_files_as_they_were_when_it_started(live: Live) -> None:
    """Case 27."""
    world, _ = live
    project = world.project()
    (world.folder / "features.sql").write_text("SELECT nonsense FROM nowhere\n")
    assert project.text("features.sql") == QUERY
    world.write_defs()


def test_rolling_back_serves_the_version_before_at_once(live: Live) -> None:
    world, _ = live
    result = rollback(
        world.project(),
        version=None,
        store=world.store,
        settings=world.settings,
        run_id="test",
        reason="test",
    )
    assert (result.version, result.champion_before) == (1, 2)
    answer = verify_live(world.project(), store=world.store, settings=world.settings)
    assert answer.agrees
    assert answer.version == 1


def test_a_project_whose_config_was_deleted_goes_on_being_served(live: Live) -> None:
    """Case 27: a model is retired explicitly, never by the absence of its YAML."""
    world, _ = live
    project = world.project()
    (world.folder / "defs.yaml").rename(world.folder / "elsewhere.yaml")
    reconcile([], store=world.store, settings=world.settings)
    assert verify_live(project, store=world.store, settings=world.settings).agrees
    world.write_defs()
