"""The mesh's network on this machine: a bridge in the node's own namespace, and a pair of interfaces for each pod.

Nothing of it is in the machine's network namespace, and all of it goes when the namespaces go.
"""

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final

from pyroute2 import IPRoute  # type: ignore[import-untyped]  # it ships no types
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]  # it ships no types

from hauberk.agent.ipam import GATEWAY_4, GATEWAY_6, POD_RANGE_4, POD_RANGE_6, PodAddresses
from hauberk.linux.netns import in_network_async

BRIDGE: Final = "hauberk0"
# What programs find elsewhere; segments larger than this pass a veth pair whole anyway.
MTU: Final = 1500
_BRIDGE_HARDWARE: Final = "02:00:0a:f4:00:01"
_IFA_F_NODAD: Final = 0x02
_LOOPBACK: Final = 1
_UNREACHABLE: Final = "unreachable"


class PodNetwork:
    """The bridge and the pods' interfaces; every operation may be repeated."""

    def __init__(self, node: int) -> None:
        self._node = node
        self.has_ipv6 = Path("/proc/sys/net/ipv6").exists()

    @property
    def nameservers(self) -> tuple[str, ...]:
        """Where the pods find their names: the bridge's own addresses."""
        return (GATEWAY_4, GATEWAY_6) if self.has_ipv6 else (GATEWAY_4,)

    def addresses(self, pod: PodAddresses) -> tuple[str, ...]:
        """The pod's addresses that this machine can carry, IPv4 first."""
        return (pod.ipv4, pod.ipv6) if self.has_ipv6 else (pod.ipv4,)

    async def install_node(self) -> None:
        """The node's namespace has its bridge, its addresses and its sysctls."""
        await in_network_async(self._node, lambda: _install_node(self.has_ipv6))

    async def attach(self, uid: str, pod: int, addresses: PodAddresses) -> None:
        """The pod's namespace (an open descriptor) is connected, its addresses answer at once."""
        await in_network_async(pod, lambda: _prepare_pod(self.has_ipv6))
        await in_network_async(self._node, lambda: _connect(interface_name(uid), pod, addresses))
        await in_network_async(pod, lambda: _configure_pod(addresses, self.has_ipv6))

    async def detach(self, uid: str) -> None:
        """The pod's pair of interfaces is gone."""
        await in_network_async(self._node, lambda: _disconnect(interface_name(uid)))

    async def keep_only(self, uids: set[str]) -> None:
        """Pairs of interfaces of all pods but these are gone."""
        names = {interface_name(uid) for uid in uids}
        await in_network_async(self._node, lambda: _disconnect_others(names))


def interface_name(uid: str) -> str:
    """The name of the pod's interface on the bridge (an interface's name has at most 15 characters)."""
    return "p" + uid.replace("-", "")[:13]


def _install_node(has_ipv6: bool) -> None:
    # Forwarding with no route but "unreachable": an address nobody has is refused at once instead of being waited for.
    _write_sysctls({"ipv4/ip_forward": "1"})
    if has_ipv6:
        _write_sysctls({"ipv6/conf/all/forwarding": "1", "ipv6/conf/default/accept_dad": "0", "ipv6/conf/all/accept_dad": "0"})
    with IPRoute() as route:
        route.link("set", index=_LOOPBACK, state="up")
        # A given link address stays; a bridge without one takes its lowest port's, and changes it under the pods' neighbour caches.
        _once(lambda: route.link("add", ifname=BRIDGE, kind="bridge", address=_BRIDGE_HARDWARE, br_mcast_snooping=0, mtu=MTU))
        bridge = _index(route, BRIDGE)
        _add_address(route, bridge, GATEWAY_4, POD_RANGE_4.prefixlen)
        if has_ipv6:
            _add_address(route, bridge, GATEWAY_6, POD_RANGE_6.prefixlen)
        route.link("set", index=bridge, state="up")
        _once(lambda: route.route("add", dst="0.0.0.0/0", type=_UNREACHABLE))
        if has_ipv6:
            _once(lambda: route.route("add", family=socket.AF_INET6, dst="::/0", type=_UNREACHABLE))


def _prepare_pod(has_ipv6: bool) -> None:
    # Before the interface arrives: it takes the namespace's defaults when it does.
    _write_sysctls({"ipv4/ip_unprivileged_port_start": "0"} | pod_sysctls("all", has_ipv6) | pod_sysctls("default", has_ipv6))
    with IPRoute() as route:
        route.link("set", index=_LOOPBACK, state="up")


def pod_sysctls(interface: str, has_ipv6: bool) -> dict[str, str]:
    """What a pod learns from its neighbours: nothing. A pod that sends redirects or router advertisements moves no other's traffic.

    `interface` may be `all` or `default`. IPv4 takes redirects that either `all` or the interface accepts; IPv6 asks the interface alone.
    """
    found = {f"ipv4/conf/{interface}/accept_redirects": "0"}
    if has_ipv6:
        found |= {f"ipv6/conf/{interface}/{name}": "0" for name in ("accept_redirects", "accept_ra", "autoconf", "accept_dad")}
    return found


def _connect(name: str, pod: int, addresses: PodAddresses) -> None:
    with IPRoute() as route:
        bridge = _index(route, BRIDGE)
        if not route.link_lookup(ifname=name):
            peer = {"ifname": "eth0", "net_ns_fd": pod, "address": addresses.hardware, "mtu": MTU}
            route.link("add", ifname=name, kind="veth", mtu=MTU, peer=peer)
        route.link("set", index=_index(route, name), master=bridge, state="up")


def _configure_pod(addresses: PodAddresses, has_ipv6: bool) -> None:
    with IPRoute() as route:
        eth0 = _index(route, "eth0")
        # It may have come before the defaults were these: an agent before this one made it.
        _write_sysctls(pod_sysctls("eth0", has_ipv6))
        _add_address(route, eth0, addresses.ipv4, POD_RANGE_4.prefixlen)
        if has_ipv6:
            _add_address(route, eth0, addresses.ipv6, POD_RANGE_6.prefixlen)
        route.link("set", index=eth0, state="up")
        _once(lambda: route.route("add", dst="0.0.0.0/0", gateway=GATEWAY_4))
        if has_ipv6:
            _once(lambda: route.route("add", family=socket.AF_INET6, dst="::/0", gateway=GATEWAY_6))
    # After a restart of Envoy the peer's old segments must not be taken for somebody else's and be answered with a reset.
    _write_sysctls({"netfilter/nf_conntrack_tcp_be_liberal": "1"}, optional=True)


def _disconnect(name: str) -> None:
    with IPRoute() as route:
        for index in route.link_lookup(ifname=name):
            # Its namespace may end in this very moment and take it along.
            with suppress(NetlinkError):
                route.link("del", index=index)


def _disconnect_others(names: set[str]) -> None:
    with IPRoute() as route:
        found = {str(link.get_attr("IFLA_IFNAME")): link for link in route.get_links(kind="veth")}
    for name in found.keys() - names:
        _disconnect(name)


def _add_address(route: Any, index: int, address: str, prefix: int) -> None:
    # Without duplicate address detection: the addresses are ours to give, and it would hold them back for a second.
    flags = {"flags": _IFA_F_NODAD, "address": str(IPv6Address(address))} if ":" in address else {"address": address}
    _once(lambda: route.addr("add", index=index, prefixlen=prefix, **flags))


def _once(change: Callable[[], object]) -> None:
    try:
        change()
    except NetlinkError as exc:
        if exc.code != errno.EEXIST:
            raise


def _index(route: Any, name: str) -> int:
    found = route.link_lookup(ifname=name)
    if not found:
        raise OSError(errno.ENODEV, f"{name}: {errno.errorcode[errno.ENODEV]}")
    return int(found[0])


def _write_sysctls(values: dict[str, str], *, optional: bool = False) -> None:
    for name, value in values.items():
        path = Path("/proc/sys/net") / name
        try:
            path.write_text(value)
        except OSError:
            # Opening with O_CREAT is refused as a permission error where the file does not exist.
            if not optional:
                raise
