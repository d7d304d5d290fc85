"""Which of Spark's settings a project may change: what they cost, not what they mean.

A setting has to be in a list of what is known to be about costs, because Spark's families mix such
settings with names of classes and addresses. Parts of those names are refused in any family too.
"""

from __future__ import annotations

import re

_FAMILIES: dict[str, tuple[str, ...]] = {
    "spark.dynamicAllocation.": ("",),
    "spark.executor.": (
        *("cores", "decommission.", "failuresValidityInterval", "heartbeat", "instances"),
        *("logs.rolling.", "maxNumFailures", "memory", "metrics.", "minMemoryOverhead"),
        *("processTreeMetrics.", "pyspark.memory", "resource."),
    ),
    "spark.hadoop.fs.s3a.": (
        *("attempts.maximum", "block.size", "connection.", "executor.capacity"),
        *("experimental.input.fadvise", "list.version", "max.total.tasks", "multipart."),
        *("paging.maximum", "path.style.access", "prefetch.", "readahead.range"),
        *("requester.pays.enabled", "retry.", "socket.", "threads.", "vectored."),
    ),
    "spark.kubernetes.": (
        *("allocation.batch.", "allocation.executor.", "allocation.max"),
        *("authenticate.driver.serviceAccountName", "authenticate.executor.serviceAccountName"),
        *("container.image", "driver.pod.name", "dynamicAllocation.", "executor.annotation."),
        *("executor.apiPollingInterval", "executor.container.image", "executor.delete"),
        *("executor.label.", "executor.limit.cores", "executor.missingPodDetectDelta"),
        *("executor.node.selector.", "executor.podNamePrefix", "executor.request.cores"),
        *("executor.roll", "executor.scheduler.name", "local.dirs.tmpfs"),
        *("memoryOverheadFactor", "namespace", "node.selector.", "scheduler.name"),
    ),
    "spark.memory.": ("",),
    "spark.network.": ("io.", "maxRemoteBlockSizeFetchToMem", "timeout"),
    "spark.rpc.": ("askTimeout", "io.", "lookupTimeout", "message.maxSize", "numRetries", "retry."),
    "spark.scheduler.": (
        *("barrier.", "excludeOnFailure.", "listenerbus.eventqueue.", "maxRegistered"),
        *("minRegistered", "mode", "revive.interval"),
    ),
    "spark.shuffle.": ("",),
    "spark.speculation": ("",),
    "spark.sql.": (
        *("adaptive.", "autoBroadcastJoinThreshold", "files.max", "files.min", "shuffle."),
    ),
    "spark.storage.": (
        *("blockManager", "cachedPeersTtl", "cleanupFilesAfterExecutorExit", "decommission."),
        *("localDiskByExecutors.", "maxReplicationFailures", "memory", "replication.proactive"),
        *("unrollMemoryThreshold",),
    ),
    "spark.task.": ("",),
    "spark.yarn.": (
        *("am.cores", "am.memory", "am.nodeLabelExpression", "am.waitTime"),
        *("executor.failuresValidityInterval", "executor.memoryOverhead"),
        *("executor.nodeLabelExpression", "max.executor.failures", "maxAppAttempts"),
        *("priority", "queue", "scheduler.", "tags"),
    ),
}
"""Beginnings of names, by family; an empty one stands for the whole family."""
_NEVER = {
    "names no code": re.compile(
        r"(?i)javaoptions|classpath|librarypath|plugin|class(name)?$|impl$|\.manager$|factory"
        r"|signer|script|provider|codec|mapper|policy$|allocator|steps$|\.jars|archive|dist\.|env\."
    ),
    "names no address": re.compile(r"(?i)endpoint|proxy|address|gateway"),
    "holds no secret": re.compile(r"(?i)secret|password|passphrase|token|credential|key"),
    "leaves encryption as it is": re.compile(r"(?i)crypt|ssl|sasl|trust"),
    "names no file": re.compile(
        r"(?i)hostpath|podtemplate|upload|volumes|\.mount|\.(file|files|path)$"
    ),
    "leaves no data out": re.compile(r"(?i)ignore"),
}


def expected_instead(name: str) -> str | None:
    """What is expected instead of a setting, or None where it may be changed."""
    for rule, words in _NEVER.items():
        if words.search(name):
            return f"a setting about costs, which {rule}"
    family = next((family for family in _FAMILIES if name.startswith(family)), None)
    if family is None:
        return f"a setting that begins with {', '.join(_FAMILIES)}"
    allowed = [f"{family}{tail}" for tail in _FAMILIES[family]]
    if name.startswith(tuple(allowed)):
        return None
    return f"a setting that begins with {', '.join(allowed)}"
