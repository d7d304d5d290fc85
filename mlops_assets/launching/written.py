"""Which tags of a run the engine wrote, so that a run started again follows today's ``compute:``.

Dagster gives a run that repeats another one all its tags. Those that the engine wrote are written
anew; those that a person or a sensor gave stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from mlops_assets.launching.tags import DOCKER_TAG

COMPUTE_TAG = "mlops/compute"
"""Run tag: names of the tags that the engine wrote, each with a digest of its value, as JSON."""
MAX_RETRIES_TAG = "dagster/max_retries"
_EMPTY = {DOCKER_TAG: "{}", "dagster-k8s/config": "{}"}
"""How tags say that nothing is asked for, where an empty text does not. None can be removed."""


def tag_changes(
    found: Mapping[str, str], wanted: Mapping[str, str], instance_retries: int
) -> dict[str, str]:
    """What to write on a run that is submitted.

    Args:
        found: Its tags, some of them perhaps copied from the run that it repeats.
        wanted: What its project asks for now.
        instance_retries: How often the instance starts a killed run again by itself.
    """
    ours = engine_tags(found)
    changes = {name: text for name, text in wanted.items() if name not in found or name in ours}
    empty = {MAX_RETRIES_TAG: str(instance_retries), **_EMPTY}
    changes |= {name: empty.get(name, "") for name in ours - wanted.keys()}
    return changes | {COMPUTE_TAG: _record(changes)}


def no_more_retries(found: Mapping[str, str]) -> dict[str, str]:
    """What to write on a run that must not be started again by itself; a person still can."""
    ours = {name: found[name] for name in engine_tags(found)}
    ours[MAX_RETRIES_TAG] = "0"
    return {MAX_RETRIES_TAG: "0", COMPUTE_TAG: _record(ours)}


def engine_tags(found: Mapping[str, str]) -> set[str]:
    """Names of the tags that are as the engine wrote them."""
    record = json.loads(found.get(COMPUTE_TAG, "{}"))
    return {name for name, digest in record.items() if _digest(found.get(name)) == digest}


def _record(tags: Mapping[str, str]) -> str:
    return json.dumps({name: _digest(text) for name, text in tags.items()}, sort_keys=True)


def _digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:8]
