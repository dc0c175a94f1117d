"""The kinds by the names people type. The registry of `hauberk.api` says the same; it is too slow to load for a `get`."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.cli.failure import Exit, Failure


@dataclass(frozen=True, slots=True)
class KindName:
    """A kind under all its names."""

    kind: str
    plural: str
    short: tuple[str, ...] = ()
    namespaced: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it answers to, lower case."""
        return (self.plural, self.kind.lower(), *self.short)


KINDS = (
    KindName("Namespace", "namespaces", ("ns",), namespaced=False),
    KindName("ServiceAccount", "serviceaccounts", ("sa",)),
    KindName("Service", "services", ("svc",)),
    KindName("Pod", "pods", ("po",)),
    KindName("Deployment", "deployments", ("deploy",)),
    KindName("ConfigMap", "configmaps", ("cm",)),
    KindName("PeerAuthentication", "peerauthentications", ("pa",)),
    KindName("AuthorizationPolicy", "authorizationpolicies", ("ap",)),
)
_BY_NAME = {name: kind for kind in KINDS for name in kind.names}
ALL = tuple(_BY_NAME[plural] for plural in ("pods", "services", "deployments"))  # as kubectl shows them


def kind_named(name: str) -> KindName:
    """The kind that `name` means: kind, plural, short name, with or without its API group."""
    found = _BY_NAME.get(name.lower().partition(".")[0])
    if found is None:
        known = ", ".join("/".join((kind.plural, *kind.short)) for kind in KINDS)
        raise Failure(f"there is no kind {name!r}", f"this mesh knows {known}", "use one of these names", Exit.USAGE)
    return found


def kinds_named(names: str) -> tuple[KindName, ...]:
    """The kinds of `pods,svc`; `all` means what runs: services, deployments and pods."""
    if names.lower() == "all":
        return ALL
    return tuple(kind_named(name) for name in names.split(",") if name)
