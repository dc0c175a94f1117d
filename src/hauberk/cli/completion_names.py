"""What a shell offers after Tab: kinds, and the names of what the running mesh holds. Silent when there is no mesh."""

from __future__ import annotations

from typing import Any

import click

from hauberk.api.kinds import KINDS
from hauberk.cli import kinds
from hauberk.cli.failure import Failure

_PATIENCE = 1.0  # seconds: a person has pressed Tab and waits


def namespaces(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The namespaces of the mesh."""
    return _names("namespaces", None, incomplete)


def kind_or_name(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """First a kind, then names of that kind."""
    given = context.params.get("kind_names") or context.params.get("kind")
    words = [given] if isinstance(given, str) else list(given or ())
    if not words:
        return [each.plural for each in KINDS if each.plural.startswith(incomplete)]
    try:
        kind = kinds.kind_named(words[0])
    except Failure:
        return []
    return _names(kind.plural, context.params.get("namespace") if kind.namespaced else None, incomplete)


def targets(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Pods, and deployments and services with their prefix."""
    namespace = context.params.get("namespace")
    found = _names("pods", namespace, incomplete)
    for plural, prefix in (("deployments", "deploy/"), ("services", "svc/")):
        if prefix.startswith(incomplete) or incomplete.startswith(prefix):
            found += [prefix + name for name in _names(plural, namespace, incomplete.removeprefix(prefix) if "/" in incomplete else "")]
    return found


def deployments(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Deployments, as `deploy/NAME`."""
    names = _names("deployments", context.params.get("namespace"), incomplete.removeprefix("deploy/"))
    return [f"deploy/{name}" for name in names]


def _names(plural: str, namespace: str | None, incomplete: str) -> list[str]:
    from hauberk.cli import connection  # noqa: PLC0415 -- not every command that can complete needs a connection

    try:
        listed: Any = connection.mesh().api("GET", connection.list_path(plural, namespace=namespace), timeout=_PATIENCE)
    except Failure:
        return []
    names = (item["metadata"]["name"] for item in listed.get("items", []))
    return [name for name in names if name.startswith(incomplete)]
