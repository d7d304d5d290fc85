"""Ingestions in processes of their own, to be killed: arguments are servers, topic, store.

It waits with everything imported, and becomes one more ingestion for each line that it reads, whose
process id it writes. So a kill does not wait for imports, and hits an ingestion at work.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from pathlib import Path

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from mlops_assets.sources.landing import land
from mlops_assets.sources.registry import incremental_source_for
from resources.local_store import LocalStore

SOURCE = "orders"
_LATER_IMPORTS = ("confluent_kafka", "pandas", "pyarrow.compute", "pyarrow.json", "resources.kafka")
"""What an ingestion imports only when it needs it."""


def project_for(servers: str, topic: str) -> Project:
    """A project whose source is the topic, in many slices."""
    written = {
        "description": "takes a topic",
        "task": "binary",
        "sources": {
            SOURCE: {
                "type": "kafka",
                "bootstrap_servers": servers,
                "topic": topic,
                "columns": {"id": "bigint"},
                "max_messages_per_slice": 200,
            }
        },
        "features": {
            "query": "features.sql",
            "entity": "id",
            "time": "_timestamp",
            "label": {"column": "label"},
            "inputs": {"numeric": ["x"]},
        },
    }
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("team", "mine"), spec, Path(), written, {"features.sql": "SELECT 1"})


def main() -> None:
    """Fork an ingestion for each line."""
    for name in _LATER_IMPORTS:
        import_module(name)
    incremental_source_for(project_for(*sys.argv[1:3]).spec.source(SOURCE))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are not waited for
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                consume(*sys.argv[1:])
            finally:
                os._exit(1)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


def consume(servers: str, topic: str, folder: str) -> None:
    """Take what is there, again and again."""
    project, store = project_for(servers, topic), LocalStore(Path(folder))
    while True:
        land(project, SOURCE, store)


if __name__ == "__main__":
    main()
