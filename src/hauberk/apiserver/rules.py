"""What admission needs to know of this mesh beside its objects."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from hauberk.api.mesh_config import ROOT_NAMESPACE, MeshConfig
from hauberk.apiserver.service_addresses import Ranges


@dataclass(frozen=True, slots=True)
class Rules:
    """What admission needs to know of this mesh."""

    node: str  # the control plane's own machine, where pods run that name none
    ranges: Ranges = field(default_factory=Ranges)
    root_namespace: str = ROOT_NAMESPACE
    trust_domain: str = MeshConfig().trust_domain  # of the certificates that have been issued
    joined: Callable[[], Collection[str]] = tuple  # the other machines that pods may be placed on
    # Why the trust domain cannot have this name and these aliases from now on, and what to do; None: nobody can rename it.
    naming: Callable[[str, Sequence[str]], tuple[str, str] | None] | None = None

    def naming_fault(self, trust_domain: str, aliases: Sequence[str]) -> tuple[str, str] | None:
        """Why the settings may not name the mesh so, and what to do."""
        if self.naming is not None:
            return self.naming(trust_domain, aliases)
        if trust_domain == self.trust_domain:
            return None
        message = f"the trust domain is {self.trust_domain}: the root certificate was made for it, and cannot become {trust_domain}"
        return message, "to begin anew with another one: hauberk down --purge, then HAUBERK_TRUST_DOMAIN=… hauberk up"
