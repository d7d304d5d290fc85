"""The ``monitoring`` asset: a report for every window of live traffic, with its checks."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.metadata import picture, table
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.settings import project_asset
from mlops_assets.assets.versions import code_version
from mlops_assets.config.project import Project
from mlops_assets.keys import DATA_QUALITY_CHECK, DRIFT_CHECK, LABELS_CHECK, PERFORMANCE_CHECK

if TYPE_CHECKING:
    from mlops_assets.monitoring.run import MonitoringResult
    from mlops_assets.monitoring.timeline import Timeline

CHECKS = {
    DATA_QUALITY_CHECK: "Live inputs meet the features' expectations and are as complete as those "
    "the model was trained on. Bad data page the owner and never retrain.",
    DRIFT_CHECK: "Inputs and predictions are distributed as those of the reference.",
    PERFORMANCE_CHECK: "On mature labels, the live model is as good as when it was accepted.",
    LABELS_CHECK: "Labels arrive when they should be final.",
}


FINDING = ("column", "rule", "found", "expected", "passed", "severity")
DRIFT = (
    *("column", "state", "test", "effect", "threshold", "q_value", "importance"),
    *("missing_before", "missing_now"),
)
"""Columns of the tables, in their order: records are kept with sorted keys."""


def build_monitoring_asset(project: Project) -> dg.AssetsDefinition:
    """The asset that closes windows and judges them."""
    key = dg.AssetKey(project.id.monitoring_key)
    streams = [project.id.inference_log_key]
    if project.spec.monitoring.labels is not None:
        streams.append(project.id.labels_key)

    @project_asset(
        project,
        key.path,
        kinds={"python", "parquet"},
        deps=streams,
        description="Volume, latency, data quality, drift and performance of every window of live "
        "traffic.",
        code_version=code_version(project, "monitoring"),
        condition=None,
        checks=[
            dg.AssetCheckSpec(name, asset=key, description=text) for name, text in CHECKS.items()
        ],
    )
    def monitoring(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from mlops_assets.monitoring.run import monitor
        from mlops_assets.monitoring.timeline import load_timeline

        store = platform.store()
        result = monitor(project, store)
        timeline = load_timeline(project, store)
        context.log.info(f"{len(result.reports)} windows closed")
        newest = max(timeline.windows, default="none")
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(f"{newest}+{len(timeline.performance)}"),
            metadata=_metadata(project, result, timeline),
            check_results=_check_results(key, result, timeline),
        )

    return monitoring


def _metadata(project: Project, result: "MonitoringResult", timeline: "Timeline") -> dict[str, Any]:
    from mlops_assets.monitoring.timeline import draw_timeline, timeline_rows

    metadata: dict[str, Any] = {"closed_windows": len(result.reports)}
    if result.until is not None:
        metadata["complete_until"] = dg.MetadataValue.timestamp(result.until)
    if not timeline.windows:
        return metadata
    last = timeline.windows[max(timeline.windows)]
    metadata |= {
        "dagster/row_count": last["rows"],
        "window": when(last),
        "drifted_importance": last["drift"]["share"],
        "version": last["version"] if last["version"] is not None else "none",
        "windows": table(timeline_rows(timeline)),
        "timeline": picture(draw_timeline(timeline, str(project.id)), "timeline"),
    }
    for kind, value in timeline.newest_metric().items():
        metadata[f"{kind}/{timeline.metric}"] = value
    if last["latency_ms"]:
        metadata["latency_ms"] = dg.MetadataValue.json(last["latency_ms"])
    if last["drift"]["columns"]:
        metadata["drift"] = table(drift_rows(last["drift"]))
    return metadata


def _check_results(
    key: dg.AssetKey, result: "MonitoringResult", timeline: "Timeline"
) -> list[dg.AssetCheckResult]:
    reports = result.reports or list(timeline.windows.values())[-1:]
    performance = result.performance or list(timeline.performance.values())[-1:]
    return [
        _quality(key, reports),
        _drift(key, reports),
        _performance(key, performance),
        _labels(key, result),
    ]


def _quality(key: dg.AssetKey, reports: list[dict[str, Any]]) -> dg.AssetCheckResult:
    bad = [report for report in reports if report["quality"]["state"] == "bad"]
    rows = [
        {"window": when(report), **{name: finding[name] for name in FINDING}}
        for report in reports
        for finding in report["quality"]["findings"]
        if not finding["passed"]
    ]
    text = f"{len(reports)} windows, no bad data"
    if bad:
        broken = [row for row in rows if row["severity"] == "error"]
        text = (
            f"bad data in window {when(bad[0])}: {broken[0]['rule']} in "
            f"{broken[0]['column']}: {broken[0]['found']}, expected {broken[0]['expected']}"
        )
    return _check(key, DATA_QUALITY_CHECK, not bad, (text, rows))


def _drift(key: dg.AssetKey, reports: list[dict[str, Any]]) -> dg.AssetCheckResult:
    from mlops_assets.policy.decision import describe_drift

    drifted = [report for report in reports if report["drift"]["state"] == "drifted"]
    shown = (drifted or reports)[-1:]
    rows = [row for report in shown for row in drift_rows(report["drift"])]
    text = f"{len(reports)} windows, no drift"
    if drifted:
        last = drifted[-1]
        text = f"window {when(last)}: {describe_drift(last['drift'])} drifted"
    elif shown and shown[0]["drift"]["state"] == "insufficient":
        text = f"insufficient: {shown[0]['drift']['reason']}"
    figures = {
        "drifted_importance": shown[0]["drift"]["share"] if shown else 0.0,
        "drifted_columns": sum(row["state"] == "drifted" for row in rows),
    }
    return _check(key, DRIFT_CHECK, not drifted, (text, rows), figures)


def _performance(key: dg.AssetKey, records: list[dict[str, Any]]) -> dg.AssetCheckResult:
    from mlops_assets.policy.decision import performance_evidence

    lost = [record for record in records if record["decayed"]]
    rows = [
        {
            "window": when(record),
            "version": record["version"],
            "labelled": record["labelled"],
            **{name: record["realised"][name] for name in ("metric", "value", "lower", "upper")},
            "baseline": record["baseline"],
            "decayed": record["decayed"],
        }
        for record in records
    ]
    shown = (lost or records)[-1:]
    text = "no window with mature labels yet"
    if shown:
        text = performance_evidence(when(shown[0]), shown[0]).text
    value = shown[0]["realised"]["value"] if shown else None
    figures = {} if value is None else {shown[0]["realised"]["metric"]: value}
    return _check(key, PERFORMANCE_CHECK, not lost, (text, rows), figures)


def _labels(key: dg.AssetKey, result: "MonitoringResult") -> dg.AssetCheckResult:
    rows = [
        {"window": str(late.window), "requests": late.rows, "labelled": late.labelled}
        for late in result.late
    ]
    text = "labels are there as far as they are final"
    if result.late:
        first = result.late[0]
        text = (
            f"{len(rows)} mature windows wait for labels, the first since {first.window}: "
            f"{first.labelled:,} of {first.rows:,} requests have one"
        )
    return _check(key, LABELS_CHECK, not rows, (text, rows))


def _check(
    key: dg.AssetKey,
    name: str,
    passed: bool,
    told: tuple[str, list[dict[str, Any]]],
    figures: Mapping[str, float] | None = None,
) -> dg.AssetCheckResult:
    text, rows = told
    severe = name == DATA_QUALITY_CHECK
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
        description=text,
        metadata={**(figures or {}), **({"details": table(rows)} if rows else {})},
    )


def when(record: dict[str, Any]) -> str:
    """Start of a record's window, as a person reads it."""
    start: str = record["window"]["start"]
    return start[:16].replace("T", " ")


def drift_rows(drift: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each column that was compared, the prediction first, then by importance."""
    columns = sorted(drift["columns"], key=lambda column: -(column["importance"] or 0))
    every = [*([drift["prediction"]] if drift["prediction"] else []), *columns]
    return [{name: column[name] for name in DRIFT} for column in every]
