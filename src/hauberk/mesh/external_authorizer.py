"""External authorizers: where a provider of the mesh's settings is, and which one a workload's CUSTOM policies ask (S-A14)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hauberk.api.authorization_policy import Action, AuthorizationPolicy
from hauberk.api.extension_provider import EnvoyExtAuthzGrpc, EnvoyExtAuthzHttp, ExtensionProvider
from hauberk.api.mesh_config import MeshConfig
from hauberk.api.metadata import ObjectKey
from hauberk.api.selector import has_labels
from hauberk.mesh.service import MeshPort, MeshService
from hauberk.mesh.workload import Workload


@dataclass(frozen=True, slots=True)
class Authorizer:
    """A provider that can be asked: `port` of `service`, or of a host outside of the mesh's services if they are None."""

    name: str
    asks: EnvoyExtAuthzGrpc | EnvoyExtAuthzHttp
    host: str
    service: MeshService | None
    port: MeshPort | None


@dataclass(frozen=True, slots=True)
class NoAuthorizer:
    """Nobody can be asked, and why: what would have been asked about is denied."""

    why: str


Authorizers = Mapping[str, Authorizer | NoAuthorizer]


def find_authorizers(config: MeshConfig, services: Mapping[ObjectKey, MeshService], cluster_domain: str) -> Authorizers:
    """Every provider of `config` by its name, the first of those with one name."""
    found: dict[str, Authorizer | NoAuthorizer] = {}
    for provider in config.extension_providers:
        found.setdefault(provider.name, _find(provider, services, cluster_domain))
    return found


def chosen_authorizer(policies: Iterable[AuthorizationPolicy], authorizers: Authorizers) -> Authorizer | NoAuthorizer | None:
    """Whom the CUSTOM policies among `policies` ask; None: there are none. One workload can ask one provider only."""
    asking = [policy.spec for policy in policies if policy.spec.action is Action.CUSTOM and not policy.dry_run]
    if not asking:
        return None
    names = sorted({spec.provider.name if spec.provider else "" for spec in asking})
    if len(names) > 1:
        return NoAuthorizer(f"policies of one workload name several providers: {', '.join(names)}")
    return authorizers.get(names[0], NoAuthorizer(f"there is no extension provider {names[0]}"))


def own_port(authorizer: Authorizer, workload: Workload) -> int | None:
    """Where `workload` is itself the authorizer: to ask there would be to ask for ever."""
    service, port = authorizer.service, authorizer.port
    if service is None or port is None or service.key.namespace != workload.namespace:
        return None
    return port.number_on(workload) if service.selector and has_labels(workload.labels, service.selector) else None


def _find(provider: ExtensionProvider, services: Mapping[ObjectKey, MeshService], cluster_domain: str) -> Authorizer | NoAuthorizer:
    asks = provider.authorizes
    if asks is None:
        return NoAuthorizer(f"the extension provider {provider.name} is none that authorizes")
    namespace, _, host = asks.service.lower().rpartition("/")
    service = _service(host.removesuffix("."), namespace, services, cluster_domain)
    if service is None:
        return _outside(provider.name, asks, host, namespace, cluster_domain)
    port = next((port for port in service.ports if port.port == asks.port), None)
    if port is None:
        return NoAuthorizer(f"the service {service.host} has no port {asks.port}")
    return Authorizer(provider.name, asks, service.host, service, port)


def _service(host: str, namespace: str, services: Mapping[ObjectKey, MeshService], cluster_domain: str) -> MeshService | None:
    for service in services.values():
        if namespace not in ("", service.key.namespace):
            continue
        if host in (service.host, *service.short_names(cluster_domain)) or (namespace and host == service.key.name):
            return service
    return None


def _outside(
    name: str, asks: EnvoyExtAuthzGrpc | EnvoyExtAuthzHttp, host: str, namespace: str, cluster_domain: str
) -> Authorizer | NoAuthorizer:
    # A name below the mesh's own, or of one word, is meant for a service; anywhere else it would be looked up for ever in vain.
    ours = namespace or host.removesuffix(".").endswith(f".{cluster_domain}") or not ("." in host or ":" in host)
    return NoAuthorizer(f"there is no service {asks.service}") if ours else Authorizer(name, asks, host, None, None)
