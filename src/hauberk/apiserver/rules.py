"""What admission needs to know of this mesh beside its objects."""

from collections.abc import Callable, Collection
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
