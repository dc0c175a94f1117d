"""What a pod's network is told before anything runs in it."""

from hauberk.agent.network import pod_sysctls


def test_a_pod_is_told_nothing_by_its_neighbours_in_either_family() -> None:
    settings = pod_sysctls("eth0", has_ipv6=True)
    assert settings.keys() >= {"ipv4/conf/eth0/accept_redirects", "ipv6/conf/eth0/accept_redirects", "ipv6/conf/eth0/accept_ra"}
    assert set(settings.values()) == {"0"}


def test_a_machine_without_ipv6_has_nothing_to_set_there() -> None:
    assert set(pod_sysctls("all", has_ipv6=False)) == {"ipv4/conf/all/accept_redirects"}
