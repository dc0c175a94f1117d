"""Which headers are taken away where a request enters, because a program may take them for others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutationPerRoute
from tests.unit.mesh.mesh_objects import key, pod, service
from tests.unit.translate.test_external_authorization import custom, settings
from tests.unit.translate.test_jwt import RULE, authentication
from tests.unit.translate.test_proxy import read
from tests.unit.translate.test_rate_limit import policy as limit

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.metadata import ApiObject
from hauberk.mesh.snapshot import build_snapshot
from hauberk.translate.mesh_headers import LOOKALIKES
from hauberk.translate.proxy import translate_own

DRY = {"istio.io/dry-run": "true"}
BY_TENANT = {"by": ["request.headers[X-Tenant]"]}
IF_TENANT = {"match": {"headers": [{"name": "x-tenant", "values": ["a"]}]}}


def about_header(action: str = "DENY", **annotations: str) -> AuthorizationPolicy:
    spec = {"action": action, "rules": [{"when": [{"key": "request.headers[x-tenant]", "values": ["a"]}]}]}
    return AuthorizationPolicy.model_validate({"metadata": {"name": "p", "namespace": "shop", "annotations": annotations}, "spec": spec})


def taken_away(header: str, *objects: ApiObject) -> bool:
    snapshot = build_snapshot([service("web"), pod("web"), service("authz", {"name": "x", "port": 9000}), *objects], None)
    route = read(translate_own(snapshot, key("Pod", "web")))["RouteConfiguration inbound|8080||"]
    assert isinstance(route, RouteConfiguration)
    made = HeaderMutationPerRoute()
    if LOOKALIKES in route.typed_per_filter_config:
        assert route.typed_per_filter_config[LOOKALIKES].Unpack(made)
    found = (each.remove_on_match.key_matcher.safe_regex.regex for each in made.mutations.request_mutations)
    return any(re.fullmatch(each, header) for each in found)


@pytest.mark.parametrize(
    "asks", [about_header(), about_header("ALLOW"), limit("l", BY_TENANT), limit("l", IF_TENANT)], ids=["deny", "allow", "by", "match"]
)
def test_what_looks_like_a_header_that_is_asked_about_goes_no_further(asks: ApiObject) -> None:
    assert taken_away("x_tenant", asks)
    assert not taken_away("x-tenant", asks)
    assert not taken_away("x_other", asks)


@pytest.mark.parametrize(
    "watches",
    [about_header("AUDIT"), about_header(**DRY), limit("l", BY_TENANT, **DRY), limit("l", IF_TENANT, **DRY)],
    ids=["audit", "policy", "by", "match"],
)
def test_what_is_only_watched_or_tried_changes_no_request(watches: ApiObject) -> None:
    assert not taken_away("x_tenant", watches)


@pytest.mark.parametrize("output", [{"outputClaimToHeaders": [{"header": "X-User", "claim": "sub"}]}, {"outputPayloadToHeader": "x-user"}])
def test_what_looks_like_a_header_that_a_claim_is_written_to_goes_no_further(output: dict[str, Any]) -> None:
    assert taken_away("x_user", authentication({**RULE, **output}))
    assert not taken_away("x-user", authentication({**RULE, **output}))
    assert not taken_away("x_user", authentication(RULE))


def test_what_looks_like_a_header_that_the_authorizer_writes_goes_no_further() -> None:
    provider = settings("envoyExtAuthzHttp", headersToUpstreamOnAllow=["X-User", "x-more-*"])
    assert taken_away("x_user", custom(), provider)
    assert not taken_away("x_more-", custom(), provider)
    assert not taken_away("x_user", provider)
