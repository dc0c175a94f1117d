"""What a mesh holds before anybody has applied anything."""

from hauberk.api.config_map import ConfigMap
from hauberk.api.mesh_config import KEY, NAME, ROOT_NAMESPACE, MeshConfig, mesh_config_of
from hauberk.api.metadata import Metadata
from hauberk.api.namespace import Namespace
from hauberk.api.peer_authentication import Mtls, MtlsMode, PeerAuthentication, PeerAuthenticationSpec
from hauberk.apiserver.apply import furnish
from hauberk.sources.draft import Draft

DEFAULT_TRUST_DOMAIN = MeshConfig().trust_domain


def put_first_objects(draft: Draft, *, fresh: bool, trust_domain: str = DEFAULT_TRUST_DOMAIN) -> None:
    """The namespaces exist; a fresh mesh demands mutual TLS, visibly, so that its users can change it."""
    for name in ("default", ROOT_NAMESPACE):
        if draft.find(Namespace, "", name) is None:
            draft.put(Namespace(metadata=Metadata(name=name)))
        furnish(draft, name)
    # Only once: who has deleted the object did not mean it to come back with the next start.
    if fresh:
        spec = PeerAuthenticationSpec(mtls=Mtls(mode=MtlsMode.STRICT))
        draft.put(PeerAuthentication(metadata=Metadata(name="default", namespace=ROOT_NAMESPACE), spec=spec))
    if fresh and trust_domain != DEFAULT_TRUST_DOMAIN:
        draft.put(ConfigMap(metadata=Metadata(name=NAME, namespace=ROOT_NAMESPACE), data={KEY: f"trustDomain: {trust_domain}\n"}))


def declared_trust_domains(draft: Draft) -> tuple[str, ...]:
    """The names that the mesh's settings give its trust domain, the wanted one first."""
    config = mesh_config_of(draft.find(ConfigMap, ROOT_NAMESPACE, NAME))
    return (config.trust_domain, *config.trust_domain_aliases)
