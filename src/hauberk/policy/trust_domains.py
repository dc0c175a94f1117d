"""What the trust domain of a principal means: the mesh's own has several names while it is being renamed (`trustDomainAliases`).

Istio's rules: `cluster.local` always means the mesh's own domain, whatever that is called; a principal that names one of the mesh's
own names means all of them; every other trust domain is a foreign one and means itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ANY_MESH: Final = "cluster.local"


@dataclass(frozen=True, slots=True)
class TrustDomains:
    """The names of the mesh itself (`own` is the one in new certificates), and the `foreign` domains that it is federated with."""

    own: str = ANY_MESH
    aliases: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the mesh itself, the current one first."""
        return tuple(dict.fromkeys((self.own, *self.aliases)))

    @property
    def accepted(self) -> tuple[str, ...]:
        """The domains whose members are let as far as the policies."""
        return tuple(dict.fromkeys((*self.names, *self.foreign)))

    def expand(self, principal: str) -> tuple[str, ...]:
        """The principals that a policy's `principal` means; what begins with a star and names no domain (`*/ns/…`, `*`) stays."""
        domain, slash, rest = principal.partition("/")
        if not slash or domain == "*" or not self._is_ours(domain):
            return (principal,)
        # `*local/ns/a/sa/b` already means each name that ends so.
        meant = (principal if _ends_so(name, domain) else f"{name}/{rest}" for name in self.names)
        return tuple(dict.fromkeys(meant))

    def _is_ours(self, domain: str) -> bool:
        return domain == ANY_MESH or any(name == domain or _ends_so(name, domain) for name in self.names)


def _ends_so(name: str, pattern: str) -> bool:
    return pattern.startswith("*") and name.endswith(pattern[1:])
