"""Envoy's configuration dump as tables."""

from hauberk.cli.proxy_views import listing

DUMP = {
    "configs": [
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
            "dynamic_active_clusters": [
                {"cluster": {"name": "outbound|8080||web.default.svc.cluster.local", "type": "EDS"}},
                {"cluster": {"name": "inbound|8080||", "type": "STATIC"}},
                {"cluster": {"name": "BlackHoleCluster"}},
            ],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
            "dynamic_listeners": [
                {
                    "name": "0.0.0.0_8080",
                    "active_state": {
                        "listener": {
                            "name": "0.0.0.0_8080",
                            "address": {"socket_address": {"address": "0.0.0.0", "port_value": 8080}},
                            "filter_chains": [{"filters": [{"typed_config": {"rds": {"route_config_name": "8080"}}}]}],
                            "default_filter_chain": {"filters": [{"typed_config": {"cluster": "PassthroughCluster"}}]},
                        }
                    },
                }
            ],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
            "dynamic_route_configs": [
                {
                    "route_config": {
                        "name": "8080",
                        "virtual_hosts": [
                            {
                                "name": "web",
                                "domains": ["web", "web.default", "web.default.svc"],
                                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "outbound|8080||web"}}],
                            }
                        ],
                    }
                }
            ],
        },
        {
            "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
            "dynamic_endpoint_configs": [
                {
                    "endpoint_config": {
                        "cluster_name": "outbound|8080||web",
                        "endpoints": [
                            {
                                "lb_endpoints": [
                                    {
                                        "endpoint": {"address": {"socket_address": {"address": "10.244.0.2", "port_value": 8080}}},
                                        "health_status": "DRAINING",
                                    }
                                ]
                            }
                        ],
                    }
                }
            ],
        },
    ]
}


def _rows(name: str) -> list[list[str]]:
    return [[cell if isinstance(cell, str) else cell.text for cell in row] for row in listing(DUMP, name).rows]


def test_clusters_are_read_by_their_names() -> None:
    assert ["web.default.svc.cluster.local", "8080", "-", "outbound", "EDS"] in _rows("clusters")
    assert ["(this pod)", "8080", "-", "inbound", "STATIC"] in _rows("clusters")
    assert ["BlackHoleCluster", "-", "-", "-", "STATIC"] in _rows("clusters")


def test_a_listener_has_a_line_for_each_filter_chain() -> None:
    assert [(row[2], row[4]) for row in _rows("listeners")] == [("8080", "routes 8080"), ("8080", "cluster PassthroughCluster")]


def test_a_route_shows_two_domains_and_counts_the_rest() -> None:
    assert _rows("routes") == [["8080", "web", "web, web.default + 1 more", "/*", "outbound|8080||web"]]


def test_an_endpoint_shows_its_health() -> None:
    assert _rows("endpoints") == [["10.244.0.2:8080", "draining", "outbound|8080||web"]]


def test_a_dump_without_a_part_gives_an_empty_table() -> None:
    assert listing({}, "secrets").rows == []
