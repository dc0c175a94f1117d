"""PeerAuthentications that compete, and modes of ports that nobody has."""

from __future__ import annotations

from collections.abc import Iterator

from hauberk.analysis.carriers import Carrier
from hauberk.analysis.fitting import check_selector
from hauberk.analysis.world import World
from hauberk.api.finding import Finding
from hauberk.api.peer_authentication import PeerAuthentication
from hauberk.api.selector import has_labels


def check_peer_authentication(policy: PeerAuthentication, world: World) -> Iterator[Finding]:
    """What in the policy does not fit the others."""
    # Unlike other policies, one with a selector concerns its own namespace only, the root namespace's too.
    namespace = policy.metadata.namespace
    yield from check_selector(policy, world, namespaces=(namespace,))
    others = [each for each in world.of(PeerAuthentication) if each.metadata.namespace == namespace and each.key != policy.key]
    labels = policy.spec.selector.match_labels
    if not labels:
        names = sorted(each.metadata.name for each in others if not each.spec.selector.match_labels)
        if names:
            message = f"namespace {namespace} has another PeerAuthentication without selector: {', '.join(names)}"
            yield Finding("HBK0606", ("metadata", "name"), message)
        return
    selected = world.carriers.selected((namespace,), labels)
    yield from _check_overlap([each for each in others if each.spec.selector.match_labels], selected)
    yield from _check_ports(policy, selected, world)


def _check_overlap(others: list[PeerAuthentication], selected: list[Carrier]) -> Iterator[Finding]:
    for other in others:
        both = next((each for each in selected if has_labels(each.labels, other.spec.selector.match_labels)), None)
        if both is not None:
            message = f"{both.key.kind} {both.key.name} is selected by {other.metadata.name} too; only the older of the two acts on it"
            yield Finding("HBK0606", ("spec", "selector"), message)


def _check_ports(policy: PeerAuthentication, selected: list[Carrier], world: World) -> Iterator[Finding]:
    for port in policy.spec.port_level_mtls:
        known = [world.ports(carrier) for carrier in selected]
        if known and all(ports and port not in ports for ports in known):
            told = ", ".join(map(str, sorted({number for ports in known for number in ports})))
            message = f"no selected workload has the port {port}; known are {told}. Ports here are those of the program, not of a Service"
            yield Finding("HBK0347", ("spec", "portLevelMtls", str(port)), message)
