"""The kinds by the names people type."""

from __future__ import annotations

from hauberk.api.kinds import KINDS, Kind, kind_called
from hauberk.cli.failure import Exit, Failure

_ALL = ("pods", "services", "deployments")  # as kubectl shows them


def kind_named(name: str) -> Kind:
    """The kind that `name` means: kind, plural, short name, with or without its API group."""
    found = kind_called(name.partition(".")[0])
    if found is None:
        raise _unknown(name)
    return found


def kinds_named(names: str) -> tuple[Kind, ...]:
    """The kinds of `pods,svc`; `all` means what runs: services, deployments and pods."""
    words = _ALL if names.lower() == "all" else tuple(name for name in names.split(",") if name)
    if not words:
        raise _unknown(names)
    return tuple(kind_named(word) for word in words)


def _unknown(name: str) -> Failure:
    known = ", ".join("/".join((kind.plural, *kind.short_names)) for kind in KINDS)
    return Failure(f"there is no kind {name!r}", f"this mesh knows {known}", "use one of these names", Exit.USAGE)
