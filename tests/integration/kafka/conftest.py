"""One broker for all tests; each test has a topic of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import make_topic, running_broker

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.keys import ProjectId
from mlops_assets.sources.base import SourceContext


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("confluent_kafka", reason="needs mlops-assets[kafka]")
    pytest.importorskip("noida_db", reason="needs mlops-assets[servers]")
    with running_broker(tmp_path_factory.mktemp("broker")) as address:
        yield address


@pytest.fixture
def topic(servers: str) -> str:
    name = f"t-{uuid.uuid4().hex[:10]}"
    make_topic(servers, name, 2)
    return name


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    folder = tmp_path / "project"
    folder.mkdir()
    return SourceContext(ProjectId("team", "mine"), folder, tmp_path / "workspace", "orders")


@pytest.fixture
def source(servers: str, topic: str) -> Callable[..., KafkaSource]:
    def build(**options: Any) -> KafkaSource:
        return KafkaSource.model_validate(
            {
                "type": "kafka",
                "bootstrap_servers": servers,
                "topic": topic,
                "columns": {"id": "bigint", "name": "string"},
                "timeout": "10s",
                **options,
            }
        )

    return build
