"""The schedule that removes what a team's killed runs left."""

import zlib

import dagster as dg

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.keys import CAUSE_TAG


def build_clean_schedule(team: str) -> dg.ScheduleDefinition:
    """Once a day, at a minute of the team's own, so that teams do not all list at once."""
    return dg.ScheduleDefinition(
        name=f"{team}__clean",
        job=build_clean_job(team),
        cron_schedule=f"{zlib.crc32(team.encode()) % 60} 4 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Removes what killed runs left more than a week ago.",
        tags={"team": team, CAUSE_TAG: "daily cleaning"},
    )


def build_clean_job(team: str) -> dg.JobDefinition:
    """What ``mlops clean`` does, for one team's part of the store.

    A second run, or two at once, find nothing or the same: what is removed is garbage for good.
    """

    @dg.op(
        name=f"remove_leftovers_of_{team}",
        description="Removes leftovers; what a manifest names stays.",
    )
    def clean_up(context: dg.OpExecutionContext, platform: PlatformResource) -> None:
        from resources.cleaning import clean

        removed = clean(platform.settings(), below=team)
        for one in removed:
            context.log.info(f"removed {one.name}: {one.bytes:,} bytes")
        total = sum(one.bytes for one in removed)
        context.log.info(f"removed {len(removed):,} leftovers, {total:,} bytes")

    @dg.job(name=f"{team}__clean", executor_def=dg.in_process_executor, tags={"team": team})
    def clean_job() -> None:
        clean_up()

    return clean_job
