"""A consumer in a process of its own, to be killed: arguments are servers, topic, store."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from slices import take

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.keys import ProjectId
from mlops_assets.sources.base import SourceContext


def main() -> None:
    servers, topic, store = sys.argv[1:]
    spec = KafkaSource.model_validate(
        {
            "type": "kafka",
            "bootstrap_servers": servers,
            "topic": topic,
            "columns": {"id": "bigint"},
            "max_messages_per_slice": 700,
        }
    )
    context = SourceContext(ProjectId("team", "mine"), Path(store), Path(store), "orders")
    while True:
        take(spec, Path(store), context)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
