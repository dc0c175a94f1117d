"""The pod, as its sidecar needs to know it."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRef:
    """A pod that this agent created; nothing of it was said by a process inside it."""

    uid: str
    namespace: str
    name: str
    service_account: str
    network: str  # the launcher's name of its network namespace
    addresses: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node: str = field(default_factory=platform.node)

    @property
    def full_name(self) -> str:
        """namespace/name, as logs say it."""
        return f"{self.namespace}/{self.name}"

    @property
    def process(self) -> str:
        """The launcher's name of its Envoy."""
        return f"{self.uid}/proxy"
