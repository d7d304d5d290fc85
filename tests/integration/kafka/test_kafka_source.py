"""Messages of a real broker, exactly once."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from brokers import delete_before, produce
from schema_registry import running_registry
from slices import letters, rows, take, taken

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.errors import SourceError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.kafka import INCREMENTAL

pytestmark = pytest.mark.kafka

Build = Callable[..., KafkaSource]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_rows_are_those_that_were_sent(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    sent = [{"id": i, "name": f"ü{i}"} for i in range(2500)]
    for partition in (0, 1):
        produce(servers, topic, sent[partition::2], partition=partition, key=b"k")
    spec = source(max_messages_per_slice=300, key_column="who")
    plan = take(spec, store, context)
    assert plan.waiting == 2500
    assert len(plan.slices) == 10
    found = rows(store)
    assert sorted((r["id"], r["name"]) for r in found) == [(r["id"], r["name"]) for r in sent]
    assert {r["who"] for r in found} == {"k"}
    assert [r["_offset"] for r in found if r["_partition"] == 1] == list(range(1250))
    assert abs((found[0]["_timestamp"] - datetime.now(UTC)).total_seconds()) < 600
    again = take(spec, store, context)
    assert (again.slices, again.waiting) == ((), 0)
    produce(servers, topic, [{"id": -1, "name": "late"}], partition=1)
    assert [s.name for s in take(spec, store, context).slices] == [f"p00001-{1250:020}"]


def test_poison_is_set_aside_and_the_partition_goes_on(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    bad: dict[int, tuple[Any, str]] = {
        3: (b"{not json", "not one valid JSON object in UTF-8"),
        4: ({"id": "secret-7", "name": "x"}, "id is not bigint"),
        7: (None, "tombstone: a message without a value"),
        8: (b'{"id":1}{"id":2}', "not one valid JSON object in UTF-8"),
        9: (b"", "not one valid JSON object in UTF-8"),
        11: (b'{"id":1,"name":"\xff"}', "not one valid JSON object in UTF-8"),
        12: ({"other": 1}, "none of the declared columns"),
        14: (b"{ }", "none of the declared columns"),
    }
    sent = [bad[i][0] if i in bad else {"id": i, "name": "ok"} for i in range(40)]
    produce(servers, topic, sent)
    take(source(), store, context)
    assert [row["id"] for row in rows(store)] == [i for i in range(40) if i not in bad]
    found = {line["offset"]: line["reason"] for line in letters(store)}
    assert found == {offset: reason for offset, (_, reason) in bad.items()}
    first = letters(store)[0]
    assert base64.b64decode(first["value"]) == b"{not json"
    assert (first["partition"], first["value_bytes"]) == (0, 9)


def test_two_messages_never_pass_for_one(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    """A parser of lines would take the first two, and the next three, for one object each."""
    split = [b'{"id":1', b',"name":"a"}', b'{"id":3,"z":[', b"{},", b"{}]}", b'{"id":6}\n{"id":7}']
    produce(servers, topic, [*split, {"id": 8}, b' {"id":\n9}\n'])
    take(source(), store, context)
    assert [(row["_offset"], row["id"]) for row in rows(store)] == [(6, 8), (7, 9)]
    assert [line["offset"] for line in letters(store)] == [0, 1, 2, 3, 4, 5]


def test_personal_data_stay_out_of_dead_letters(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    produce(servers, topic, [{"id": "anna@example.org"}], key=b"anna")
    take(source(pii=["name"]), store, context)
    assert letters(store)[0].keys() == {"partition", "offset", "timestamp", "reason"}
    assert "anna" not in str(letters(store))


def test_a_registrys_schemas_over_a_real_broker(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    fields = [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}]
    schema = json.dumps({"type": "record", "name": "Event", "fields": fields})
    sent = [{"id": i, "name": f"n{i}"} for i in range(50)]
    with running_registry() as registry:
        serializer = AvroSerializer(SchemaRegistryClient({"url": registry.url}), schema)
        place = SerializationContext(topic, MessageField.VALUE)
        values: list[Any] = [serializer(event, place) for event in sent]
        produce(servers, topic, [*values[:30], b"{}", *values[30:]])
        spec = source(format={"type": "avro", "registry": {"url": registry.url}})
        registry.status = 503
        with pytest.raises(SourceError, match="the schema registry is away"):
            take(spec, store, context)
        assert taken(store) == {}
        registry.status = 200
        take(spec, store, context)
    assert [{"id": r["id"], "name": r["name"]} for r in rows(store)] == sent
    assert [letter["offset"] for letter in letters(store)] == [30]


def transactional(servers: str, name: str) -> Any:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "transactional.id": name, "log_level": 0})
    producer.init_transactions(30)
    return producer


def test_transactions_leave_holes_and_aborted_ones_no_rows(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    """Slices begin and end inside transactions; an open one holds everything after it back.

    Every producer here aborts once, as its last act: noida-db 0.2.3 tells a reader that begins
    after an aborted transaction about it all the same, so that the reader drops what the same
    producer commits later. Kafka names only aborted transactions that reach into what is read.
    """
    for number in range(4):
        producer = transactional(servers, f"{topic}-{number}")
        producer.begin_transaction()
        for i in range(5):
            producer.produce(topic, f'{{"id":{number * 10 + i}}}', partition=0)
        producer.flush(30)
        (producer.abort_transaction if number % 2 else producer.commit_transaction)(30)
    last = transactional(servers, f"{topic}-open")
    last.begin_transaction()
    last.produce(topic, '{"id":99}', partition=0)
    last.flush(30)
    produce(servers, topic, [{"id": 100}])
    plan = take(source(max_messages_per_slice=4), store, context)
    assert [int(part.end) for part in plan.slices] == [4, 8, 12, 16, 20, 24]
    expected = [0, 1, 2, 3, 4, 20, 21, 22, 23, 24]
    assert [row["id"] for row in rows(store)] == expected
    last.commit_transaction(30)
    take(source(), store, context)
    assert [row["id"] for row in rows(store)] == [*expected, 99, 100]
    assert letters(store) == []


def test_deleted_messages_are_a_gap_that_is_told(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    produce(servers, topic, [{"id": i} for i in range(10)])
    take(source(), store, context)
    produce(servers, topic, [{"id": i} for i in range(10, 30)])
    planned = INCREMENTAL.plan(source(), taken(store), context).slices[0]
    delete_before(servers, topic, 0, 25)
    with pytest.raises(SourceError, match="no longer has the messages"):
        INCREMENTAL.write(source(), planned, store, context)
    (store / "part-00000.parquet").unlink(missing_ok=True)
    with pytest.raises(SourceError, match="partition 0, offsets 10 to 24 are gone"):
        take(source(on_gap="fail"), store, context)
    plan = take(source(), store, context)
    gap = plan.gaps[0]
    assert (gap.series, int(gap.start), int(gap.end)) == ("p00000", 10, 25)
    assert "offsets 10 to 24" in gap.reason
    assert [row["id"] for row in rows(store)] == [*range(10), *range(25, 30)]
    assert take(source(), store, context).gaps == ()


def test_latest_of_an_empty_topic_takes_what_comes_after_the_first_look(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    spec = source(start="latest", group=f"{topic}-group")
    take(spec, store, context)
    INCREMENTAL.show(spec, taken(store), context)
    produce(servers, topic, [{"id": 1, "name": "first"}], partition=1)
    take(spec, store, context)
    INCREMENTAL.show(spec, taken(store), context)
    assert [row["id"] for row in rows(store)] == [1]


def test_latest_leaves_out_what_is_there_once(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    produce(servers, topic, [{"id": 1}, {"id": 2}])
    spec = source(start="latest")
    take(spec, store, context)
    produce(servers, topic, [{"id": 3}])
    produce(servers, topic, [{"id": 4}], partition=1)
    take(spec, store, context)
    assert [row["id"] for row in rows(store)] == [3, 4]


def test_late_rows(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    options = {"columns": {"id": "int", "at": "timestamp"}, "time_column": "at", "lateness": "1h"}
    spec = source(**options, on_late="dead_letter")

    def event(i: int, hour: int) -> dict[str, Any]:
        return {"id": i, "at": f"2026-03-01T{hour:02}:00:00Z"}

    produce(servers, topic, [event(1, 12), event(2, 3)])
    take(spec, store, context)
    produce(servers, topic, [event(3, 10), event(4, 11), {"id": 5}])
    produce(servers, topic, [event(6, 2), event(7, 20)], partition=1)
    planned = INCREMENTAL.plan(source(**options), taken(store), context)
    assert planned.slices[0].detail["watermark"] == "2026-03-01T12:00:00.000000+00:00"
    take(spec, store, context)
    assert [row["id"] for row in rows(store)] == [1, 2, 4, 7]
    assert [line["reason"] for line in letters(store)] == ["late", "no at", "late"]
    produce(servers, topic, [event(8, 18), event(9, 19)])
    take(spec, store, context)
    assert [row["id"] for row in rows(store) if row["_partition"] == 0] == [1, 2, 4, 9]


def test_positions_are_shown_to_lag_tools(
    servers: str, topic: str, source: Build, context: SourceContext, store: Path
) -> None:
    from confluent_kafka import Consumer, TopicPartition

    produce(servers, topic, [{"id": i} for i in range(7)])
    spec = source(group=f"mlops-{topic}")
    take(spec, store, context)
    INCREMENTAL.show(spec, taken(store), context)
    consumer = Consumer({"bootstrap.servers": servers, "group.id": spec.group, "log_level": 0})
    try:
        assert consumer.committed([TopicPartition(topic, 0)], timeout=20)[0].offset == 7
    finally:
        consumer.close()


def test_a_topic_that_is_not_there(source: Build, context: SourceContext, store: Path) -> None:
    with pytest.raises(SourceError, match="topic nowhere: the Kafka broker refuses"):
        take(source(topic="nowhere"), store, context)


def test_a_broker_that_is_away(source: Build, context: SourceContext, store: Path) -> None:
    spec = source(bootstrap_servers="127.0.0.1:1", timeout="1s")
    with pytest.raises(SourceError, match=r"the Kafka broker is away"):
        take(spec, store, context)
