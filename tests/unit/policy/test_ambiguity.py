from typing import Any

import pytest

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.policy.decision import decide
from hauberk.policy.request import Peer, Request, Workload
from hauberk.policy.ruleset import Paths

WEB = Workload(namespace="shop", labels={"app": "web"})


def policy(action: str = "DENY", **operation: list[str]) -> AuthorizationPolicy:
    return with_rule(action, {"to": [{"operation": operation}]})


def about_header(action: str = "DENY") -> AuthorizationPolicy:
    return with_rule(action, {"when": [{"key": "request.headers[x-tenant]", "values": ["acme"]}]})


def with_rule(action: str, rule: dict[str, Any]) -> AuthorizationPolicy:
    spec = {"action": action, "rules": [rule], **({"provider": {"name": "p"}} if action == "CUSTOM" else {})}
    return AuthorizationPolicy.model_validate({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec})


def refused_as(made: AuthorizationPolicy, **request: Any) -> str | None:
    asked = Request(**{"port": 80, "method": "GET", "path": "/", "host": "web", **request})
    verdict = decide(asked, Peer(), WEB, [made])
    return verdict.judgement.name if not verdict.allowed else None


@pytest.mark.parametrize("action", ["DENY", "CUSTOM"])
def test_a_method_in_lower_case_is_refused_where_policies_ask_about_methods(action: str) -> None:
    assert refused_as(policy(action, methods=["DELETE"]), method="delete") == "hauberk-ambiguous-method"
    assert refused_as(policy(action, methods=["DELETE"]), method="GEt") == "hauberk-ambiguous-method"
    assert refused_as(policy(action, methods=["DELETE"]), method="PURGE") is None
    assert refused_as(policy(action, hosts=["other"]), method="delete") is None


@pytest.mark.parametrize("value", [" acme", "acme ", "\tacme", " x"])
def test_a_blank_at_an_end_of_a_value_is_refused_where_policies_ask_about_the_header(value: str) -> None:
    assert refused_as(about_header(), headers={"x-tenant": (value,)}) == "hauberk-ambiguous-header"
    assert refused_as(about_header(), headers={"x-other": (value,)}) is None


@pytest.mark.parametrize("host", ["web,other", "user@web", "other..", "other%2e", "other;x", "other other", "öther"])
def test_what_is_no_host_or_two_is_refused_where_policies_ask_about_hosts(host: str) -> None:
    assert refused_as(policy(hosts=["other"]), host=host) == "hauberk-ambiguous-host"
    assert refused_as(policy(methods=["PUT"]), host=host) is None


@pytest.mark.parametrize("host", ["web", "WEB.shop.", "web_1:8080", "10.0.0.1", "[fd00::1]:80", ""])
def test_what_is_a_host_is_not_refused(host: str) -> None:
    assert refused_as(policy(hosts=["other"]), host=host) is None


def test_blanks_between_values_are_none_at_an_end() -> None:
    assert refused_as(about_header(), headers={"x-tenant": ("a b", "c")}) is None
    assert refused_as(about_header(), headers={"x-tenant": ("",)}) is None


def test_what_is_only_watched_is_not_refused() -> None:
    assert refused_as(policy("AUDIT", methods=["GET"], paths=["/a"]), method="get", path="//a") is None


def test_the_path_is_looked_at_first() -> None:
    made = policy(methods=["DELETE"], paths=["/x"])
    assert refused_as(made, method="delete", path="//a") == "hauberk-ambiguous-path"


def test_the_mesh_may_let_all_of_it_pass() -> None:
    asked = Request(port=80, method="get", path="//a", host="web")
    assert decide(asked, Peer(), WEB, [policy(methods=["DELETE"], paths=["/x"])], paths=Paths(ambiguous=True)).allowed
