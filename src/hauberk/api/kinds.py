"""The registry of kinds. A new kind is one module and one line here (docs/guides/add-a-kind.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hauberk.api.authorization_policy import AuthorizationPolicy, check_authorization_policy
from hauberk.api.config_map import ConfigMap
from hauberk.api.deployment import Deployment, check_deployment
from hauberk.api.finding import Finding
from hauberk.api.mesh_config import check_config_map
from hauberk.api.metadata import ApiObject
from hauberk.api.name import label_fault, service_name_fault, subdomain_fault
from hauberk.api.namespace import Namespace
from hauberk.api.peer_authentication import PeerAuthentication, check_peer_authentication
from hauberk.api.pod import Pod, check_pod
from hauberk.api.service import Service, check_service
from hauberk.api.service_account import ServiceAccount


def _nothing(_: Any) -> Iterator[Finding]:
    return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a kind is called and read; the first of `api_versions` is the one form that objects are kept in."""

    model: type[ApiObject]
    plural: str
    api_versions: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    name_fault: Callable[[str], str | None] = subdomain_fault
    check: Callable[[Any], Iterator[Finding]] = _nothing

    @property
    def name(self) -> str:
        return self.model.__name__

    @property
    def security(self) -> bool:
        """A part of it that is left out would make it wider or narrower than it reads."""
        return self.api_versions[0].startswith("security.")


_SECURITY = ("security.istio.io/v1", "security.istio.io/v1beta1")

KINDS: tuple[Kind, ...] = (
    Kind(model=Namespace, plural="namespaces", short_names=("ns",), api_versions=("v1",), namespaced=False, name_fault=label_fault),
    Kind(model=ServiceAccount, plural="serviceaccounts", short_names=("sa",), api_versions=("v1",)),
    Kind(model=ConfigMap, plural="configmaps", short_names=("cm",), api_versions=("v1",), check=check_config_map),
    Kind(model=Service, plural="services", short_names=("svc",), api_versions=("v1",), name_fault=service_name_fault, check=check_service),
    Kind(model=Pod, plural="pods", short_names=("po",), api_versions=("v1",), check=check_pod),
    Kind(model=Deployment, plural="deployments", short_names=("deploy",), api_versions=("apps/v1",), check=check_deployment),
    Kind(
        model=PeerAuthentication,
        plural="peerauthentications",
        short_names=("pa",),
        api_versions=_SECURITY,
        check=check_peer_authentication,
    ),
    Kind(
        model=AuthorizationPolicy,
        plural="authorizationpolicies",
        short_names=("ap",),
        api_versions=_SECURITY,
        check=check_authorization_policy,
    ),
)

_BY_NAME = {kind.name: kind for kind in KINDS}
_BY_WORD = {word.lower(): kind for kind in KINDS for word in (kind.name, kind.plural, *kind.short_names)}


def kind_named(name: str) -> Kind | None:
    """The kind of an object's `kind` field, spelled exactly."""
    return _BY_NAME.get(name)


def kind_called(word: str) -> Kind | None:
    """The kind that a user means by its name, plural or short name, in any case."""
    return _BY_WORD.get(word.lower())
