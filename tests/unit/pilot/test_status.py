from datetime import UTC, datetime

from hauberk.api.metadata import ObjectKey
from hauberk.pilot.status import Counters, ProxyStatus
from hauberk.xds.resource import CLUSTER
from hauberk.xds.update import Rejection

WEB = ObjectKey("Pod", "shop", "web-1")


def test_a_proxys_status_has_the_fields_that_scripts_rely_on() -> None:
    rejection = Rejection(CLUSTER, "outbound|80||web.shop.svc.cluster.local", "1", "bad", ("Service/shop/web",))
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    status = ProxyStatus(pod=WEB, connected=True, synced=False, pushed_at=moment, rejections=(rejection,))
    assert status.to_json() == {
        "pod": "web-1",
        "namespace": "shop",
        "connected": True,
        "synced": False,
        "pushedAt": "2026-01-02T03:04:05Z",
        "ackedAt": None,
        "rejected": [{"resource": "Cluster/outbound|80||web.shop.svc.cluster.local", "object": "Service/shop/web", "message": "bad"}],
    }


def test_counters_are_plain_numbers() -> None:
    assert Counters(pushes=2, push_seconds=0.12345).to_json()["push_seconds"] == 0.123
