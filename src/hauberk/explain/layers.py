"""The layers before authorization: is there a way, is there a sidecar at its end, and does the connection get past its mutual TLS."""

from __future__ import annotations

from collections.abc import Iterator

from hauberk.api.peer_authentication import MtlsMode
from hauberk.explain.caller import Caller
from hauberk.explain.destination import Destination, Target
from hauberk.explain.explanation import Json, Layer, Outcome
from hauberk.explain.question import Question
from hauberk.mesh.endpoints import ServiceEndpoints
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.policy.trust_domains import TrustDomains


def trust_domains(snapshot: MeshSnapshot) -> TrustDomains:
    """What the mesh calls itself, and whom it believes."""
    config = snapshot.config
    return TrustDomains(config.trust_domain, config.trust_domain_aliases, snapshot.settings.foreign_trust_domains)


def route_document(destination: Destination, *, http: bool) -> Json:
    """The way of the request, in the API's shape."""
    service, port = destination.service, destination.port
    return {
        "service": f"{service.key.name}.{service.key.namespace}" if service else None,
        "host": service.host if service else None,
        "port": port.port if port else None,
        "protocol": destination.protocol.value,
        "http": http,
        "workloads": [
            {"pod": each.workload.name, "namespace": each.workload.namespace, "port": each.number, "labels": dict(each.workload.labels)}
            for each in destination.targets
        ],
    }


def route_layer(snapshot: MeshSnapshot, destination: Destination, target: Target | None) -> Layer:
    """Whether anybody is found there. A sidecar answers 503 for a service without endpoints."""
    service, port = destination.service, destination.port
    if service is None or port is None:
        return Layer("route", Outcome.PASS, f"{destination.name} is called directly")
    named = f"{service.key.name}.{service.key.namespace}:{port.port} ({port.name or 'no name'}, {port.protocol.value})"
    if target is None:
        return Layer("route", Outcome.DENY, f"no workload answers for {named}", 503)
    if target.number is None:
        because = f"{target.workload.name} has no container port called {port.target!r}, which {named} leads to"
        return Layer("route", Outcome.DENY, because, 503)
    found = snapshot.endpoints.get(service.key)
    ready = sum(1 for _ in _ready(found, port.port)) if found else 0
    of = len(destination.targets)
    if not ready:
        # What policies say does not depend on it, and it passes by itself.
        return Layer("route", Outcome.UNKNOWN, f"none of the {of} workloads behind {named} is ready; until one is, the answer is 503")
    return Layer("route", Outcome.PASS, f"{named} leads to port {target.number} of {of} workload{'s' if of != 1 else ''}, {ready} ready")


def unrouted_layer(question: Question) -> Layer | None:
    """What sidecars refuse in any request, whatever policies say; None: nothing."""
    if question.method == "CONNECT" or question.path == "*":
        asked = question.method if question.method == "CONNECT" else "the path *"
        return Layer("route", Outcome.DENY, f"{asked} leads nowhere: sidecars have no route for it", 404)
    if not question.path.startswith("/"):
        return Layer("route", Outcome.DENY, f"the path {question.path} does not begin with a slash: sidecars refuse the request", 400)
    return None


def _ready(found: ServiceEndpoints, port: int) -> Iterator[object]:
    return (endpoint for each, endpoints in found.ports if each.port == port for endpoint in endpoints)


def interception_layer(caller: Caller, target: Target) -> Layer:
    """Whether the connection comes through a sidecar at its end."""
    if target.inbound is None:
        return Layer("interception", Outcome.NONE, f"{target.workload.name} has no sidecar: nothing guards it")
    told = "a sidecar at its end" if not caller.identity else "sidecars at both ends"
    return Layer("interception", Outcome.PASS, f"the connection goes through {told}")


def mtls_layer(snapshot: MeshSnapshot, caller: Caller, target: Target, question: Question) -> tuple[Layer, str | None]:
    """Whether the connection is let in, and the identity that it proves."""
    assert target.inbound is not None and target.number is not None
    inbound = target.inbound
    mode = next((port.mode for port in inbound.ports if port.number == target.number), inbound.mode)
    said = f"port {target.number} is {mode.value}{_by(inbound.mode_origins)}"
    if not caller.identity:
        if mode is MtlsMode.STRICT:
            return Layer("mtls", Outcome.DENY, f"{said}, and the caller speaks plaintext: the connection is refused"), None
        return Layer("mtls", Outcome.PASS, f"{said}: plaintext is let in, without identity"), None
    if mode is MtlsMode.DISABLE:
        return Layer("mtls", Outcome.PASS, f"{said}: sidecars speak plaintext to it, so that nobody has an identity there"), None
    domain = caller.identity.removeprefix("spiffe://").partition("/")[0]
    accepted = trust_domains(snapshot).accepted
    if domain not in accepted:
        because = f"{said}, and the trust domain {domain} is not believed here (believed: {', '.join(accepted)})"
        return Layer("mtls", Outcome.DENY, because), None
    if question.trust_domain or caller.pod is None or caller.pod.meshed:
        return Layer("mtls", Outcome.PASS, f"{said}; the caller proves {caller.identity}"), caller.identity
    return Layer("mtls", Outcome.PASS, said), caller.identity


def server_name(destination: Destination) -> str | None:
    """What a sidecar asks for in its handshake when it calls a service (Istio's name of it)."""
    service, port = destination.service, destination.port
    return f"outbound_.{port.port}_._.{service.host}" if service and port else None


def _by(origins: tuple[str, ...]) -> str:
    names = [each.partition("/")[2] for each in origins]
    return f" (PeerAuthentication {', '.join(names)})" if names else " (no PeerAuthentication)"
