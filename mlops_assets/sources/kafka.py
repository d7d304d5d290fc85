"""``type: kafka``: messages of a topic, taken in ranges of offsets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.errors import SourceError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.incremental import Plan, Slice, Written
from mlops_assets.sources.kafka_plan import ORIGIN, PLANNED_AT, WATERMARK, plan_topic
from mlops_assets.sources.kafka_write import SliceTimes, SliceWriter

if TYPE_CHECKING:
    from resources.kafka import KafkaTopic


class Kafka:
    """A topic."""

    def plan(self, spec: KafkaSource, taken: Mapping[str, Slice], context: SourceContext) -> Plan:
        """Ranges of offsets that were not taken yet.

        Raises:
            SourceError: The broker is away; the topic is not the one whose messages were taken;
                or messages are lost and the source says ``on_gap: fail``.
        """
        with open_topic(spec, context) as topic:
            marks = {number: topic.watermarks(number) for number in topic.partitions()}
        return plan_topic(spec, taken, marks, context.where, datetime.now(UTC))

    def write(
        self, spec: KafkaSource, part: Slice, folder: Path, context: SourceContext
    ) -> Written:
        """Write the messages of a range; those that cannot be read become dead letters.

        Raises:
            SourceError: The broker or the schema registry is away, or the messages are gone.
        """
        if part.detail.get("skip"):
            return Written(0)
        if part.detail["topic"] != spec.topic:
            raise SourceError(
                "the slice is of another topic", where=context.where, found=part.detail["topic"]
            )
        partition = int(part.detail["partition"])
        times = SliceTimes(part.detail.get(WATERMARK), part.detail.get(PLANNED_AT))
        with (
            SliceWriter(spec, folder, context, times) as writer,
            open_topic(spec, context) as topic,
        ):
            for batch in topic.read(partition, int(part.start), int(part.end)):
                writer.add(partition, batch)
        return writer.written()

    def show(self, spec: KafkaSource, taken: Mapping[str, Slice], context: SourceContext) -> None:
        """Show outside lag tools what was taken, under the source's ``group`` if it has one.

        Raises:
            SourceError: The broker is away or refuses.
        """
        if spec.group is None or not taken.keys() - {ORIGIN}:
            return
        with open_topic(spec, context) as topic:
            topic.commit(
                {
                    int(part.detail["partition"]): int(part.end)
                    for series, part in taken.items()
                    if series != ORIGIN
                }
            )


def open_topic(spec: KafkaSource, context: SourceContext) -> KafkaTopic:
    """The topic of a source; use it in a ``with`` statement."""
    from resources.kafka import KafkaTopic

    return KafkaTopic(
        spec.bootstrap_servers,
        spec.topic,
        where=context.where,
        security=spec.security,
        directory=context.project_directory,
        timeout_seconds=spec.timeout.total_seconds(),
        group=spec.group,
    )


INCREMENTAL = Kafka()
