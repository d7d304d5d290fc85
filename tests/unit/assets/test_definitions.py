"""A team's definitions: what is in them, and what one broken project does to the others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.definitions import build_team_definitions

GOOD = """\
type: mlops_assets.MLProject
attributes:
  description: Will it rain?
  owners: ["team:sky", "ada@example.com"]
  tags: {tier: gold}
  task: binary
  sources:
    weather: {type: files, uri: data.parquet, description: Hourly weather.}
  checks:
    weather:
      - {type: expect_column_values_to_not_be_null, column: id}
      - {type: expect_column_values_to_be_unique, column: id, severity: warn}
  features:
    query: features.sql
    entity: id
    time: at
    label: {column: y}
    inputs: {numeric: [a], categorical: [c]}
  monitoring:
    freshness: {features: 26h}
"""
STAGES = [["raw", "weather"], ["features"], ["model"], ["evaluation"], ["deployment"]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    for name in ("rain", "snow"):
        folder = tmp_path / "project_configs" / "sky" / name
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(GOOD)
        (folder / "features.sql").write_text("SELECT id, at, y, a, c FROM weather\n")
    return tmp_path


def break_snow(root: Path, text: str) -> None:
    (root / "project_configs" / "sky" / "snow" / "defs.yaml").write_text(text)


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {"/".join(spec.key.path): spec for spec in definitions.resolve_all_asset_specs()}


def test_a_project_has_five_stages_in_its_own_group(root: Path) -> None:
    found = specs(build_team_definitions("sky", root))
    expected = {"/".join(["sky", name, *stage]) for name in ("rain", "snow") for stage in STAGES}
    assert set(found) == expected
    spec = found["sky/rain/raw/weather"]
    assert spec.group_name == "sky__rain"
    assert list(spec.owners) == ["team:sky", "ada@example.com"]
    assert spec.tags["tier"] == "gold"
    assert spec.description == "Hourly weather."
    assert spec.kinds == {"spark", "parquet", "files"}


def test_a_code_server_can_load_all_of_it(root: Path) -> None:
    """Dagster looks for names that are there twice only when a repository is made."""
    dg.Definitions.validate_loadable(build_team_definitions("sky", root))


def test_the_graph_leads_from_raw_data_to_the_deployment(root: Path) -> None:
    graph = build_team_definitions("sky", root).resolve_asset_graph()
    up = {
        key.path[-1]: {parent.path[-1] for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
        if key.path[1] == "rain"
    }
    assert up == {
        "weather": set(),
        "features": {"weather"},
        "model": {"features"},
        "evaluation": {"features", "model"},
        "deployment": {"model", "evaluation"},
    }


def test_each_expectation_is_a_check_and_only_errors_block(root: Path) -> None:
    graph = build_team_definitions("sky", root).resolve_asset_graph()
    keys = [key for key in graph.asset_check_keys if key.asset_key.path[1] == "rain"]
    blocking = {key.name: graph.get(key).blocking for key in keys}
    assert len(blocking) == 4
    assert not blocking["deployment"]  # it reports, and the step fails by itself
    assert blocking["promotion"]
    assert {name: b for name, b in blocking.items() if "null" in name}.popitem()[1]
    assert not {name: b for name, b in blocking.items() if "unique" in name}.popitem()[1]


def test_freshness_is_watched_where_it_is_declared(root: Path) -> None:
    found = specs(build_team_definitions("sky", root))
    assert found["sky/rain/features"].freshness_policy is not None
    assert found["sky/rain/model"].freshness_policy is None


def test_a_team_has_one_sensor_of_each_kind(root: Path) -> None:
    names = {sensor.name for sensor in build_team_definitions("sky", root).sensors or ()}
    always = {"sky__alerts", "sky__automation", "sky__new_data", "sky__reconcile", "sky__redeploy"}
    assert names == always


def test_compute_is_on_every_asset_and_has_an_automation_sensor_of_its_own(root: Path) -> None:
    file = root / "project_configs" / "sky" / "rain" / "defs.yaml"
    file.write_text(GOOD + "  compute: {launcher: ecs, gpus: 1, timeout: 2h}\n")
    definitions = build_team_definitions("sky", root)
    named = {key: spec.metadata.get("mlops/run_tags") for key, spec in specs(definitions).items()}
    mine = {key for key, value in named.items() if value is not None}
    assert mine == {key for key in named if key.startswith("sky/rain/")}
    tags = named["sky/rain/model"]
    assert isinstance(tags, dg.JsonMetadataValue)
    assert tags.value["mlops/launcher"] == "ecs"
    assert tags.value["dagster/max_runtime"] == "7200"
    ours = sorted(automation_targets(definitions).items())
    assert [(name.rpartition("_")[0], names) for name, names in ours] == [
        ("sky_", {"snow"}),
        ("sky__automation_ecs", {"rain"}),
    ]


def automation_targets(definitions: dg.Definitions) -> dict[str, set[str]]:
    """Projects of each automation sensor."""
    return {
        sensor.name: {key.path[1] for key in sensor.asset_selection.resolve(assets(definitions))}
        for sensor in definitions.sensors or ()
        if isinstance(sensor, dg.AutomationConditionSensorDefinition)
    }


def test_projects_with_the_same_compute_share_an_automation_sensor(root: Path) -> None:
    """A sensor a project would be a thousand evaluations at a time for a thousand projects."""
    alike = "  compute: {launcher: ecs, timeout: 2h}\n"
    names = {f"p{number}" for number in range(20)}
    for name in names:
        folder = root / "project_configs" / "sky" / name
        shutil.copytree(root / "project_configs" / "sky" / "rain", folder)
        (folder / "defs.yaml").write_text(GOOD + alike)
    found = automation_targets(build_team_definitions("sky", root))
    assert found.pop("sky__automation") == {"rain", "snow"}
    assert list(found.values()) == [names]
    again = automation_targets(build_team_definitions("sky", root))
    assert found.keys() < again.keys()


def assets(definitions: dg.Definitions) -> list[dg.AssetsDefinition]:
    return [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]


def test_trainings_on_a_gpu_and_deployments_take_turns(root: Path) -> None:
    for name, extra in (
        ("rain", "  compute: {gpus: 1}\n"),
        ("snow", "  training: {devices: cuda}\n"),
    ):
        (root / "project_configs" / "sky" / name / "defs.yaml").write_text(GOOD + extra)
    graph = build_team_definitions("sky", root).resolve_asset_graph()
    pools = {"/".join(key.path): graph.get(key).pools for key in graph.get_all_asset_keys()}
    taken = {key: pool for key, pool in pools.items() if pool}
    assert taken == {
        f"sky/{name}/{stage}": {pool}
        for name in ("rain", "snow")
        for stage, pool in (("model", "gpu"), ("deployment", "triton_deploy"))
    }


def test_a_training_on_the_cpu_waits_for_nobody(root: Path) -> None:
    graph = build_team_definitions("sky", root).resolve_asset_graph()
    assert not graph.get(dg.AssetKey(["sky", "rain", "model"])).pools


def test_a_monitored_project_has_the_way_back(root: Path) -> None:
    path = root / "project_configs" / "sky" / "rain" / "defs.yaml"
    streams = "  monitoring:\n    inference_log: {uri: live}\n    labels: {uri: labels}\n"
    schedule = '  automation: {fallback_schedule: "0 3 * * 1"}\n'
    path.write_text(GOOD.replace("  monitoring:\n", streams) + schedule)
    definitions = build_team_definitions("sky", root)
    graph = definitions.resolve_asset_graph()
    up = {
        key.path[-1]: {parent.path[-1] for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
        if key.path[1] == "rain"
    }
    assert up["inference_log"] == {"deployment"}
    assert up["monitoring"] == {"inference_log", "labels"}
    assert up["retrain_decision"] == {"monitoring"}
    names = {sensor.name for sensor in definitions.sensors or ()}
    assert {"sky__monitoring", "sky__retrain"} <= names
    names = {schedule.name for schedule in definitions.schedules or ()}
    assert names == {"sky__clean", "sky__rain__fallback"}


def test_automation_that_is_off_leaves_no_condition_and_no_sensor(root: Path) -> None:
    for name in ("rain", "snow"):
        path = root / "project_configs" / "sky" / name / "defs.yaml"
        path.write_text(GOOD + "  automation: {enabled: false}\n")
    definitions = build_team_definitions("sky", root)
    assert [s.automation_condition for s in specs(definitions).values()] == [None] * 10
    assert {sensor.name for sensor in definitions.sensors or ()} == {
        "sky__alerts",
        "sky__reconcile",
    }


@pytest.mark.parametrize(
    "text", ["{", GOOD.replace("task: binary", "task: bineary"), "", "a: !!python/object:os.x {}\n"]
)
def test_a_broken_project_is_shown_and_the_others_load(root: Path, text: str) -> None:
    """Case 28."""
    break_snow(root, text)
    found = specs(build_team_definitions("sky", root))
    assert {path for path in found if "rain" in path} == {
        "/".join(["sky", "rain", *stage]) for stage in STAGES
    }
    assert {path for path in found if "snow" in path} == {"sky/snow/CONFIG_ERROR"}
    broken = found["sky/snow/CONFIG_ERROR"]
    assert "defs.yaml" in (broken.description or "")
    assert broken.group_name == "sky__snow"


def test_a_schedule_that_dagster_refuses_disables_only_its_project(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sensors.fallback as module

    real = module.build_fallback_schedule
    refused = {"rain": "0 3 * * 1", "snow": "0 0 3 * * 1"}
    monkeypatch.setattr(
        module,
        "build_fallback_schedule",
        lambda project, _: real(project, refused[project.id.name]),
    )
    for name in ("rain", "snow"):
        path = root / "project_configs" / "sky" / name / "defs.yaml"
        path.write_text(GOOD + '  automation: {fallback_schedule: "0 3 * * 1"}\n')
    definitions = build_team_definitions("sky", root)
    found = specs(definitions)
    assert {path for path in found if "snow" in path} == {"sky/snow/CONFIG_ERROR"}
    assert "0 0 3 * * 1" in (found["sky/snow/CONFIG_ERROR"].description or "")
    assert [schedule.name for schedule in definitions.schedules or ()] == [
        "sky__clean",
        "sky__rain__fallback",
    ]
    assert "sky__automation" in {sensor.name for sensor in definitions.sensors or ()}


def test_other_asset_files_of_the_team_are_loaded(root: Path) -> None:
    folder = root / "project_configs" / "sky" / "reports"
    folder.mkdir()
    (folder / "weekly.py").write_text("import dagster as dg\n@dg.asset\ndef weekly(): pass\n")
    assert "weekly" in specs(build_team_definitions("sky", root))


def test_a_broken_asset_file_disables_only_its_folder(root: Path) -> None:
    folder = root / "project_configs" / "sky" / "reports"
    folder.mkdir()
    (folder / "weekly.py").write_text("import nowhere_at_all\n")
    found = specs(build_team_definitions("sky", root))
    assert {"sky/rain/deployment", "sky/snow/deployment"} <= set(found)
    assert "nowhere_at_all" in (found["sky/reports/CONFIG_ERROR"].description or "")


def test_a_team_is_an_attribute_that_loads_only_that_team(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlops_assets.definitions as module

    other = root / "project_configs" / "sea" / "waves"
    other.mkdir(parents=True)
    (other / "defs.yaml").write_text("{")
    monkeypatch.setenv("MLOPS_ROOT", str(root))
    assert {path.split("/")[0] for path in specs(module.sky)} == {"sky"}
    with pytest.raises(AttributeError, match="no team 'sand'"):
        _ = module.sand


def test_loading_definitions_imports_nothing_heavy(root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from mlops_assets.definitions import *; "
        f"build_team_definitions('sky', Path({str(root)!r})).resolve_asset_graph(); "
        "heavy = {'torch', 'pyspark', 'great_expectations', 'onnxruntime', 'tritonclient'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
