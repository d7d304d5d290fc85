"""A world of its own whose store lies on a real S3 server, started for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlops_assets.cli.variables import variables

if TYPE_CHECKING:
    from rich.console import Console

    from resources.settings import Settings

BUCKET = "mlops"


@contextmanager
def s3_world(settings: Settings, console: Console) -> Iterator[Settings]:
    """Settings under which every version, bundle, record and ledger entry lies in S3.

    Everything starts empty: server, Dagster instance and model repository have a folder of their
    own below the settings' ``home``, which is made anew.
    """
    from resources import durable
    from resources.s3_client import s3_client
    from resources.s3_server import start_s3_server
    from resources.settings import Settings

    home = settings.home / "s3"
    durable.remove_tree(home)
    server = start_s3_server(home / "server")
    console.print(f"  S3 at {server.endpoint}, with every byte of the store", highlight=False)
    own = {
        "MLOPS_HOME": str(home / "home"),
        "MLOPS_STORE_URI": f"s3://{BUCKET}/store",
        "MLOPS_TRITON_REPOSITORY": str(home / "triton_repo"),
        "MLOPS_TRITON_ENVIRONMENTS": str(settings.triton_environments),
        "MLOPS_TRITON_GRPC_URL": None,
        "MLOPS_TRITON_HTTP_URL": None,
        "MLOPS_DAGSTER_HOME": None,
        "AWS_PROFILE": None,
        "AWS_SESSION_TOKEN": None,
        "MLOPS_S3_SSE": None,
        "MLOPS_S3_SSE_KMS_KEY_ID": None,
        "NO_PROXY": "127.0.0.1",
        **server.environment,
    }
    try:
        with variables(own):
            s3_client().create_bucket(Bucket=BUCKET)
            yield Settings.from_environment(root=settings.root)
    finally:
        server.stop()
