from __future__ import annotations

from hauberk.envoy.name import inbound, outbound, policy_name


def test_names_are_those_that_dashboards_of_istio_parse() -> None:
    assert str(outbound(9080, "reviews.default.svc.cluster.local")) == "outbound|9080||reviews.default.svc.cluster.local"
    assert str(inbound(9080)) == "inbound|9080||"
    assert policy_name("foo", "bar", 0) == "ns[foo]-policy[bar]-rule[0]"


def test_the_name_in_a_tls_greeting_has_the_parts_of_the_clusters_name() -> None:
    assert outbound(80, "web.shop.svc.cluster.local").sni == "outbound_.80_._.web.shop.svc.cluster.local"
