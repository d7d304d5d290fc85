"""A server that ignores ``If-None-Match`` is refused before it can overwrite anything."""

from __future__ import annotations

import pytest

from mlops_assets.errors import AlreadyExistsError, StoreError
from resources.s3_client import s3_client
from resources.s3_store import S3Store
from tests.integration.s3 import faulty

pytestmark = pytest.mark.s3


def _probes(store: S3Store) -> list[str]:
    return [item.key for item in store.place.listing("_probes/")]


def test_a_server_that_ignores_conditions_is_refused(
    store: S3Store, s3_server_proxy: faulty.Proxy
) -> None:
    s3_server_proxy.plan(faulty.without_condition, times=1000, method="PUT")
    for _ in range(2):  # a refused server is asked again, not trusted
        with pytest.raises(StoreError, match="ignores conditions") as caught:
            store.create("team/key", b"mine")
    assert not isinstance(caught.value, AlreadyExistsError)
    assert caught.value.where == f"s3://{store.place.bucket} at {s3_server_proxy.endpoint}"
    assert "412" in str(caught.value.expected)
    assert "conditional writes" in str(caught.value.fix)
    assert store.keys("team") == []
    assert _probes(store) == []


def test_a_good_server_is_asked_once(store: S3Store, s3_server_proxy: faulty.Proxy) -> None:
    for number in range(3):
        store.create(f"team/{number}", b"mine")
    probes = [request for request in s3_server_proxy.requests if "_probes" in request[1]]
    assert [method for method, _ in probes] == ["PUT", "PUT"]
    assert _probes(store) == []


@pytest.mark.parametrize("fault", [faulty.server_error, faulty.done_but_lost])
def test_a_good_server_passes_on_a_bad_day(
    store: S3Store, s3_server_proxy: faulty.Proxy, fault: faulty.Fault
) -> None:
    s3_server_proxy.plan(fault, times=2, method="PUT", part="_probes")
    store.create("team/key", b"mine")
    assert not s3_server_proxy.faults
    assert store.read("team/key") == b"mine"


def test_what_may_not_be_deleted_does_not_stop_a_writer(
    store: S3Store, s3_server_proxy: faulty.Proxy
) -> None:
    s3_server_proxy.plan(faulty.denied, method="POST", part="delete")
    store.create("team/key", b"mine")
    assert len(_probes(store)) == 1
    assert s3_client().head_object(Bucket=store.place.bucket, Key=_probes(store)[0])
