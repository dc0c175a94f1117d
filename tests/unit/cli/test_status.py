"""The status that is joined from the two halves of the mesh."""

from typing import Any

from hauberk.cli.status import healthy, join, tables

PILOT: dict[str, Any] = {
    "controlPlane": {"ready": True, "version": "0.1.0", "uptimeSeconds": 5},
    "agents": [],
    "proxies": [{"pod": "web-1", "namespace": "default", "ready": True, "synced": True, "rejected": []}],
}
AGENT: dict[str, Any] = {
    "agents": [{"node": "here", "ready": True, "pods": 1}],
    "proxies": [
        {
            "pod": "web-1",
            "namespace": "default",
            "ready": False,
            "rejected": [],
            "certificate": {"spiffeId": "spiffe://x/ns/default/sa/web"},
        }
    ],
    "records": {"kept": 3, "dropped": 0, "stored": 30},
}


def test_a_proxy_has_what_each_half_knows_of_it() -> None:
    (proxy,) = join(PILOT, AGENT)["proxies"]
    assert (proxy["synced"], proxy["ready"], proxy["certificate"]["spiffeId"]) == (True, False, "spiffe://x/ns/default/sa/web")


def test_without_a_control_plane_the_rest_is_still_told_and_it_is_not_healthy() -> None:
    document = join(None, AGENT)
    assert document["controlPlane"]["ready"] is False
    assert document["agents"][0]["ready"] is True
    assert not healthy(document)


def test_without_an_agent_it_is_not_healthy() -> None:
    assert not healthy(join(PILOT, None))


def test_a_rejected_resource_is_not_healthy_and_is_named_with_its_object() -> None:
    rejected = {"resource": "Listener/x", "object": "Service/default/web", "message": "no\nway"}
    document = join({**PILOT, "proxies": [{**PILOT["proxies"][0], "rejected": [rejected]}]}, AGENT)
    assert not healthy(document)
    assert "rejected by default/web-1: Listener/x (from Service/default/web): no way" in tables(document)


def test_an_alarm_is_not_healthy_and_is_told_in_its_own_words() -> None:
    alarming = {**AGENT["proxies"][0], "problem": "its certificate ended\nat noon", "alarm": True}
    document = join(PILOT, {**AGENT, "proxies": [alarming]})
    assert not healthy(document)
    assert "default/web-1: its certificate ended at noon" in tables(document)


def test_agents_of_other_machines_are_shown_as_the_control_plane_knows_them() -> None:
    there = {"node": "there", "ready": False, "pods": 2}
    document = join({**PILOT, "agents": [there]}, AGENT)
    assert [each["node"] for each in document["agents"]] == ["here", "there"]
    assert not healthy(document)
    assert any("agent there" in line and "not ready" in line for line in tables(document))


def test_an_agent_that_is_cut_off_says_why() -> None:
    cut_off = {"node": "here", "ready": False, "pods": 1, "problem": "node here was banned"}
    assert any("node here was banned" in line for line in tables(join(None, {**AGENT, "agents": [cut_off]})))
