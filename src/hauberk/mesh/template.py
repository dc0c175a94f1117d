"""Pods that may come: what Deployments would make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hauberk.api.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Template:
    """Labels and identity of a Deployment's pods; how many there are right now makes no difference to it."""

    namespace: str
    labels: Mapping[str, str]
    service_account: str


def build_template(deployment: Deployment) -> Template:
    """The template of `deployment`."""
    template = deployment.spec.template
    return Template(deployment.metadata.namespace, template.metadata.labels, template.spec.service_account_name)


def templates_by_namespace(*templates: Template) -> Mapping[str, tuple[Template, ...]]:
    """All templates, grouped."""
    found: dict[str, list[Template]] = {}
    for template in templates:
        found.setdefault(template.namespace, []).append(template)
    return {namespace: tuple(each) for namespace, each in found.items()}
