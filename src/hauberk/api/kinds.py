"""The registry of kinds. A new kind is one module and one line here (docs/guides/add-a-kind.md).

Types are loaded when they are first asked for: the command line needs only the names, and must not wait for pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hauberk.api.metadata import ApiObject


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a kind is called, and the module of its type; the first of `api_versions` is the form that objects are kept in."""

    name: str
    module: str
    plural: str
    short_names: tuple[str, ...] = ()
    api_versions: tuple[str, ...] = ("v1",)
    namespaced: bool = True

    @cached_property
    def model(self) -> type[ApiObject]:
        """The type of the kind's objects: the class of its name in its module."""
        model: type[ApiObject] = getattr(import_module(self.module), self.name)
        return model

    @property
    def words(self) -> tuple[str, ...]:
        """Everything that people may call it, in lower case."""
        return (self.plural, self.name.lower(), *self.short_names)

    @property
    def security(self) -> bool:
        """A part of it that is left out would make it wider or narrower than it reads."""
        return self.api_versions[0].startswith(("security.", "policy."))


_SECURITY = ("security.istio.io/v1", "security.istio.io/v1beta1")

# fmt: off
KINDS: tuple[Kind, ...] = (
    Kind(name="Namespace", module="hauberk.api.namespace", plural="namespaces", short_names=("ns",), namespaced=False),
    Kind(name="ServiceAccount", module="hauberk.api.service_account", plural="serviceaccounts", short_names=("sa",)),
    Kind(name="ConfigMap", module="hauberk.api.config_map", plural="configmaps", short_names=("cm",)),
    Kind(name="Service", module="hauberk.api.service", plural="services", short_names=("svc",)),
    Kind(name="Pod", module="hauberk.api.pod", plural="pods", short_names=("po",)),
    Kind(name="Deployment", module="hauberk.api.deployment", plural="deployments", short_names=("deploy",), api_versions=("apps/v1",)),
    Kind(name="PeerAuthentication", module="hauberk.api.peer_authentication", plural="peerauthentications", short_names=("pa",),
         api_versions=_SECURITY),
    Kind(name="AuthorizationPolicy", module="hauberk.api.authorization_policy", plural="authorizationpolicies", short_names=("ap",),
         api_versions=_SECURITY),
    Kind(name="RequestAuthentication", module="hauberk.api.request_authentication", plural="requestauthentications", short_names=("ra",),
         api_versions=_SECURITY),
    Kind(name="RateLimitPolicy", module="hauberk.api.rate_limit_policy", plural="ratelimitpolicies", short_names=("rlp",),
         api_versions=("policy.hauberk.dev/v1alpha1",)),
)
# fmt: on


def kind_named(name: str) -> Kind | None:
    """The kind of an object's `kind` field, spelled exactly."""
    return next((kind for kind in KINDS if kind.name == name), None)


def kind_called(word: str) -> Kind | None:
    """The kind that a user means by its name, plural or short name, in any case."""
    return next((kind for kind in KINDS if word.lower() in kind.words), None)
