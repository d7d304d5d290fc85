"""Rules between fields, each broken once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from mlops_assets.config.problems import FieldProblems
from mlops_assets.config.project import ProjectSpec

VALID: dict[str, Any] = {
    "description": "Will this flight arrive late?",
    "task": "binary",
    "sources": {"flights": {"type": "files", "uri": "data"}},
    "features": {
        "query": "features.sql",
        "entity": "flight_id",
        "time": "departure",
        "label": {"column": "is_late"},
        "inputs": {"numeric": ["distance"], "categorical": ["carrier"]},
    },
}


def _problems(changes: dict[str, Any]) -> list[tuple[str, str]]:
    """Paths and texts of the problems of the valid spec with some values replaced."""
    data = copy.deepcopy(VALID)
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = data
        for part in parents:
            target = target.setdefault(part, {})
        target[last] = value
    with pytest.raises(ValidationError) as caught:
        ProjectSpec.model_validate(data)
    (error,) = caught.value.errors()
    raised = error["ctx"]["error"]
    assert isinstance(raised, FieldProblems)
    return [(problem.path, problem.text) for problem in raised.problems]


NOT_NULL = {"type": "expect_column_values_to_not_be_null", "column": "distance"}

CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"checks": {"flihgts": []}}, "checks.flihgts", "did you mean flights?"),
    ({"checks": {"flights": [NOT_NULL, NOT_NULL]}}, "checks.flights[1]", "the first is [0]"),
    (
        {"checks": {"features": [NOT_NULL | {"name": "a"}, {**NOT_NULL, "name": "a"}]}},
        "checks.features[1]",
        "a second check named a",
    ),
    ({"features.inputs": {}}, "features.inputs", "at least one"),
    ({"features.inputs.numeric": ["IS_LATE"]}, "features.inputs.numeric[0]", "is the label"),
    ({"features.inputs.numeric": ["departure"]}, "features.inputs.numeric[0]", "is the time"),
    (
        {"features.inputs.categorical": ["x", "flight_id"]},
        "features.inputs.categorical[1]",
        "is the entity",
    ),
    ({"features.inputs.numeric": ["a", "b", "A"]}, "features.inputs.numeric[2]", "second time"),
    (
        {"features.inputs.categorical": ["distance"]},
        "features.inputs.categorical[0]",
        "under numeric too",
    ),
    ({"features.label.column": "flight_id"}, "features.label.column", "is the entity"),
    ({"features.entity": "departure"}, "features.entity", "is the time"),
    ({"features.pii": ["a", "a"]}, "features.pii[1]", "second time"),
    ({"features.pii": ["Departure"]}, "features.time", "features.pii"),
    ({"features.pii": ["is_late"]}, "features.label.column", "features.pii"),
    ({"evaluation.primary": {"metric": "rmse"}}, "evaluation.primary.metric", "for regression"),
    (
        {"evaluation.gates": [{"metric": "roc_auc", "min": 0.6}, {"metric": "r2", "min": 0.1}]},
        "evaluation.gates[1].metric",
        "a metric for binary: accuracy,",
    ),
    (
        {"evaluation.gates": [{"metric": "roc_auc", "min": 0.9, "max": 0.1}]},
        "evaluation.gates[0].min",
        "at most max",
    ),
    (
        {"task": "regression", "evaluation.decision_threshold": 0.4},
        "evaluation.decision_threshold",
        "only binary",
    ),
    (
        {"evaluation.promote_if": {"non_inferior_within": -0.1}},
        "evaluation.promote_if.non_inferior_within",
        "0 or more",
    ),
    (
        {"features.pii": ["carrier"], "evaluation.slices": ["carrier"]},
        "evaluation.slices[0]",
        "features.pii",
    ),
    ({"evaluation.slices": ["is_late"]}, "evaluation.slices[0]", "is the label"),
    ({"evaluation.slices": ["a", "b", "b"]}, "evaluation.slices[2]", "second time"),
    ({"evaluation.split": {"test": "0d"}}, "evaluation.split.test", "no time at all"),
    ({"monitoring.freshness": {"model": "59s"}}, "monitoring.freshness.model", "one minute"),
    ({"monitoring.freshness": {"raw": "1s"}}, "monitoring.freshness.raw", "one minute"),
    (
        {"training.distributed": {"nodes": 2}},
        "training.distributed.rendezvous",
        "nothing, with 2 nodes",
    ),
    (
        {"training.distributed": {"rendezvous": "a:1"}},
        "training.distributed.rendezvous",
        "with 1 node",
    ),
    (
        {"training.distributed": {"backend": "nccl"}, "training.devices": "cpu"},
        "training.distributed.backend",
        "nccl with `devices: cpu`",
    ),
    (
        {"training.distributed": {"processes_per_node": 8}, "training.batch_size": 4},
        "training.batch_size",
        "fewer rows than the 8 processes",
    ),
    ({"tags": {"a b": "c"}}, "tags.a b", "the key 'a b'"),
    (
        {"evaluation.gates": [{"metric": "roc_auc", "min": 70}]},
        "evaluation.gates[0].min",
        "found 70, expected 0 to 1, between which roc_auc lies",
    ),
    (
        {"evaluation.gates": [{"metric": "brier", "max": -0.1}]},
        "evaluation.gates[0].max",
        "expected 0 to 1",
    ),
    (
        {"monitoring.performance": {"max_drop": 3}},
        "monitoring.performance.max_drop",
        "less than 1, as roc_auc lies between 0 and 1",
    ),
    (
        {"training.devices": "cuda", "compute.launcher": "docker"},
        "compute.gpus",
        "a container gets no GPU that it did not ask for",
    ),
    (
        {"spark": {"master": "k8s://https://h:6443", "driver_host": "h"}},
        "spark.settings",
        "spark.kubernetes.container.image",
    ),
    *(
        ({"sources.flights.columns": {"a": written}}, "sources.flights.columns.a", said)
        for written, said in [
            ("strng", "did you mean string?"),
            ("float64", "did you mean float?"),
            ("varchar(20)", "found 'varchar(20)', expected one of boolean,"),
            ("decimal(50,2)", "found 'decimal(50,2)'"),
            ("map<string,intt>", "found 'map<string,intt>'"),
            ("array<struct<a:strng>>", "found 'array<struct<a:strng>>'"),
        ]
    ),
    (
        {"sources.flights.columns": {"id": "string", "ID": "bigint"}},
        "sources.flights.columns.ID",
        "ID beside id",
    ),
    ({"tags": {"dagster/x": "c"}}, "tags.dagster/x", "not 'dagster/'"),
    ({"tags": {"a": "b c"}}, "tags.a", "'b c'"),
    ({"tags": {"project": "apollo"}}, "tags.project", "which every asset has already"),
]


@pytest.mark.parametrize(("changes", "path", "text"), CASES, ids=lambda value: str(value)[:40])
def test_a_broken_rule_is_reported_at_its_field(
    changes: dict[str, Any], path: str, text: str
) -> None:
    ((found_path, found_text),) = _problems(changes)
    assert found_path == path
    assert text in found_text


def test_source_rules() -> None:
    source = {"type": "files", "uri": "data"}
    assert _problems({"sources": {"features": source}})[0][0] == "sources.features"
    pii = {**source, "time_column": "born", "pii": ["born"]}
    assert _problems({"sources": {"flights": pii}})[0][0] == "sources.flights.time_column"


def test_all_rules_report_together() -> None:
    found = _problems(
        {
            "checks": {"weather": []},
            "features.inputs": {"numeric": ["is_late"]},
            "evaluation.gates": [{"metric": "rmse", "max": 1}],
            "monitoring.freshness": {"features": "5s"},
        }
    )
    assert [path for path, _ in found] == [
        "checks.weather",
        "features.inputs.numeric[0]",
        "evaluation.gates[0].metric",
        "monitoring.freshness.features",
    ]


def test_bounds_of_metrics_without_a_range_are_free() -> None:
    regression = {"task": "regression", "evaluation": {"gates": [{"metric": "r2", "min": -3}]}}
    ProjectSpec.model_validate(VALID | regression)
    drop = {"monitoring": {"performance": {"max_drop": 3, "metric": "log_loss"}}}
    ProjectSpec.model_validate(VALID | drop)


def test_the_valid_spec_is_valid() -> None:
    spec = ProjectSpec.model_validate(VALID)
    assert spec.primary.metric == "roc_auc"
    ProjectSpec.model_validate(VALID | {"monitoring": {"freshness": {"model": "60s"}}})
