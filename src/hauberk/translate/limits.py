"""Numbers and words that the mesh's settings put into many resources."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hauberk.api.mesh_config import MeshConfig, Normalization
from hauberk.mesh.settings import MeshSettings
from hauberk.policy.ruleset import Paths
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.tls_profile import TlsProfile, build_profile

# How long an undeclared port is looked at before it is taken for TCP: the wait of a program whose server speaks first.
_DETECTION: Final = timedelta(milliseconds=300)
_OLDEST_FOR_REQUESTS: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`connection_age`: no connection between sidecars is older than a certificate of this mesh ever is.

    `trusted_hops`: so many proxies before the last one are believed to name a request's client; None: nobody is.
    `ambiguous_paths`: they are let as far as policies about paths. `deny_reason_header`: who is refused is told by which rule.
    `detection`: for so long the first bytes on a port that nothing declares are waited for; zero is for ever.
    """

    trust_domains: TrustDomains
    connect_timeout: timedelta
    connection_age: timedelta
    detection: timedelta
    normalization: Normalization
    ambiguous_paths: bool = False
    deny_reason_header: bool = False
    trusted_hops: int | None = None
    registry_only: bool
    tls: TlsProfile

    @property
    def paths(self) -> Paths:
        """How paths are read that policies ask about."""
        return Paths(self.normalization, self.ambiguous_paths)

    @property
    def requests_age(self) -> timedelta:
        """How old a connection is that still takes requests.

        Its caller's certificate may end any moment, which Envoy does not look at again. A handshake every few minutes costs nothing
        that could be measured, to look at each request would; and nobody notices when a connection for requests is replaced.
        """
        return min(self.connection_age, _OLDEST_FOR_REQUESTS)


def build_limits(config: MeshConfig, settings: MeshSettings) -> Limits:
    """What `config` and `settings` ask for."""
    detection = config.protocol_detection_timeout
    return Limits(
        trust_domains=TrustDomains(config.trust_domain, config.trust_domain_aliases, settings.foreign_trust_domains),
        connect_timeout=config.connect_timeout,
        connection_age=config.hauberk.certificate_lifetime or settings.certificate_life,
        detection=_DETECTION if detection is None else detection,
        normalization=config.path_normalization.normalization,
        ambiguous_paths=config.hauberk.ambiguous_paths == "ALLOW",
        deny_reason_header=config.hauberk.deny_reason_header,
        trusted_hops=config.default_config.gateway_topology.num_trusted_proxies,
        registry_only=config.outbound_traffic_policy.mode == "REGISTRY_ONLY",
        tls=build_profile(config),
    )
