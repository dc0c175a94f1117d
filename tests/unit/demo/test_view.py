"""The live view."""

from pathlib import Path

from hauberk.demo.live import draw
from hauberk.demo.traffic import Edge
from hauberk.demo.view import Scene

POD = {
    "metadata": {"name": "catalog-1", "labels": {"app": "catalog"}},
    "spec": {},
    "status": {"podIP": "10.244.0.5", "conditions": [{"type": "Ready", "status": "True"}]},
}
SERVICE = {
    "metadata": {"name": "catalog"},
    "spec": {"clusterIP": "10.96.0.7", "selector": {"app": "catalog"}, "ports": [{"port": 80, "name": "http"}]},
}
DENIAL = {
    "source": {"identity": "spiffe://cluster.local/ns/shop/sa/analytics"},
    "destination": {"service": "ledger"},
    "decision": {"policy": "shop/no-analytics"},
}
EDGE = Edge("frontend", "catalog", "http", 4.2, 0, 1, 1.5, 9.0, "TLSv1.3")


def test_a_picture_shows_who_calls_whom_and_who_was_denied(tmp_path: Path) -> None:
    picture = tmp_path / "live.svg"
    draw(Scene([POD], [SERVICE], [EDGE], [DENIAL], 42, 1, 12.0), picture)
    text = picture.read_text(encoding="utf-8").replace("&#160;", " ")
    for shown in ("10.96.0.7", "frontend", "TLSv1.3", "ns/shop/sa/analytics", "shop/no-analytics", "1/1 pods ready"):
        assert shown in text


def test_a_mesh_that_has_not_told_anything_yet_is_drawn_too(tmp_path: Path) -> None:
    draw(Scene((), (), (), (), 0, 0, 0.0, "the control plane does not answer"), tmp_path / "live.svg")
    assert "does&#160;not&#160;answer" in (tmp_path / "live.svg").read_text(encoding="utf-8")
