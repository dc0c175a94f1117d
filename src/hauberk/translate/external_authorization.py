"""CUSTOM policies: Envoy's external authorization, asked where a rule says so (S-A14).

Two filters. The first finds the rule that matches and writes its name down, or denies the request at once if there is nobody to be
asked; the second asks the authorizer about requests that have such a name. Which rules there are is a matter of the route; whom to
ask and how is a resource of the workload's own, because a route cannot say all of it. Whatever goes wrong, the request is refused,
unless the provider is declared to fail open.

Nobody is asked about a connection of bytes: Envoy would ask at the client's first byte, when a server that speaks first has greeted it
already. What a CUSTOM rule means of connections is denied (`tcp_authorization`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from envoy.config.core.v3 import base_pb2, config_source_pb2, extension_pb2, grpc_service_pb2, http_uri_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.type.matcher.v3 import metadata_pb2, string_pb2, value_pb2
from envoy.type.v3 import http_status_pb2
from google.protobuf.message import Message

from hauberk.api.authorization_policy import Action
from hauberk.api.extension_provider import EnvoyExtAuthzGrpc, EnvoyExtAuthzHttp, ExternalAuthorization
from hauberk.envoy.message import TYPE_PREFIX, ads, any_, duration
from hauberk.envoy.name import BLACK_HOLE
from hauberk.mesh.external_authorizer import Authorizer
from hauberk.policy.rule import NormalPolicy
from hauberk.policy.verdict import NO_ALLOW_POLICY
from hauberk.translate.access_log import CUSTOM_PREFIX, RBAC_METADATA
from hauberk.translate.authorizer_cluster import authorizer_cluster_name
from hauberk.translate.encode import encode_resource
from hauberk.translate.matching import Place, outcome_matcher
from hauberk.translate.matching_clause import Outcome
from hauberk.translate.rbac import rules_of
from hauberk.xds.resource import Resource

ExtAuthz = ext_authz_pb2.ExtAuthz
Headers = string_pb2.ListStringMatcher

EXT_AUTHZ: Final = "envoy.filters.http.ext_authz"
CUSTOM: Final = "hauberk.custom"

# Where the name of the rule stands that wants the authorizer to be asked; rules of policies begin like this, nothing else does.
_RULE_KEY: Final = f"{CUSTOM_PREFIX}shadow_effective_policy_id"
_RULE_BEGINS: Final = "ns["

# The end of the name of a rule by which a request is denied because nobody can be asked.
BAD: Final = "-deny-due-to-bad-CUSTOM-action"
# What no rule matches; the first as a request is recorded that no other policy concerns.
_NOT_CONCERNED: Final = Outcome(NO_ALLOW_POLICY, allowed=True)
_NOT_ASKED: Final = Outcome("hauberk-not-asked", allowed=True)

# A refusal is a page at most; what a broken authorizer sends beyond that is not passed on.
_LARGEST_REFUSAL: Final = 64 * 1024


def custom_filters() -> tuple[hcm_pb2.HttpFilter, hcm_pb2.HttpFilter]:
    """In their order. They do nothing until the route says so; whom the second one asks is a resource of its own."""
    source = config_source_pb2.ExtensionConfigSource(config_source=ads(), type_urls=[TYPE_PREFIX + ExtAuthz.DESCRIPTOR.full_name])
    return (
        hcm_pb2.HttpFilter(name=CUSTOM, typed_config=any_(rbac_pb2.RBAC()), disabled=True),
        hcm_pb2.HttpFilter(name=EXT_AUTHZ, config_discovery=source, disabled=True),
    )


def ask_authorizer(policies: Iterable[NormalPolicy], place: Place, *, reachable: bool) -> Mapping[str, Message]:
    """What the route says to the filters, by their names, so that the CUSTOM rules of `policies` hold; empty if there are none.

    Not `reachable`: there is nobody to be asked, and what would have been asked about is denied.
    """
    rules = rules_of((policy for policy in policies if not policy.dry_run), Action.CUSTOM)
    if not rules:
        return {}
    if not reachable:
        denied = outcome_matcher([(rule, Outcome(f"{rule.id}{BAD}", allowed=False)) for rule in rules], _NOT_CONCERNED, place)
        return {CUSTOM: rbac_pb2.RBACPerRoute(rbac=rbac_pb2.RBAC(matcher=denied))}
    found = outcome_matcher([(rule, Outcome(str(rule.id), allowed=True)) for rule in rules], _NOT_ASKED, place)
    return {
        CUSTOM: rbac_pb2.RBACPerRoute(rbac=rbac_pb2.RBAC(shadow_matcher=found, shadow_rules_stat_prefix=CUSTOM_PREFIX)),
        EXT_AUTHZ: ext_authz_pb2.ExtAuthzPerRoute(check_settings=ext_authz_pb2.CheckSettings()),
    }


def encode_ext_authz(authorizer: Authorizer | None, origins: Iterable[str] = ()) -> Resource:
    """The configuration of the filter for a workload; without an authorizer nobody is reached, and nothing is let through."""
    filter_ = _nobody() if authorizer is None else _asking(authorizer)
    return encode_resource(extension_pb2.TypedExtensionConfig(name=EXT_AUTHZ, typed_config=any_(filter_)), EXT_AUTHZ, origins)


def _nobody() -> ExtAuthz:
    nowhere = grpc_service_pb2.GrpcService(envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=BLACK_HOLE), timeout=duration(1))
    return ExtAuthz(grpc_service=nowhere, transport_api_version=config_source_pb2.ApiVersion.V3)


def _asking(authorizer: Authorizer) -> ExtAuthz:
    asks = authorizer.asks
    filter_ = ExtAuthz(
        transport_api_version=config_source_pb2.ApiVersion.V3,
        failure_mode_allow=asks.fail_open,
        status_on_error=http_status_pb2.HttpStatus(code=_status(asks)),
        clear_route_cache=asks.clear_route_cache,
        with_request_body=_body(asks),
        # A header that cannot be sent makes the answer no answer, instead of ending the process.
        validate_mutations=True,
        filter_enabled_metadata=_rule_found(),
        max_denied_response_body_bytes=_LARGEST_REFUSAL,
        enforce_response_header_limits=True,
    )
    if isinstance(asks, EnvoyExtAuthzHttp):
        filter_.http_service.CopyFrom(_http(authorizer, asks))
        if shown := (*asks.include_request_headers_in_check, *asks.include_headers_in_check):
            filter_.allowed_headers.CopyFrom(_headers(shown))
    else:
        filter_.grpc_service.CopyFrom(_grpc(authorizer, asks))
    return filter_


def _rule_found() -> metadata_pb2.MetadataMatcher:
    return metadata_pb2.MetadataMatcher(
        filter=RBAC_METADATA,
        path=[metadata_pb2.MetadataMatcher.PathSegment(key=_RULE_KEY)],
        value=value_pb2.ValueMatcher(string_match=string_pb2.StringMatcher(prefix=_RULE_BEGINS)),
    )


def _grpc(authorizer: Authorizer, asks: EnvoyExtAuthzGrpc) -> grpc_service_pb2.GrpcService:
    envoy = grpc_service_pb2.GrpcService.EnvoyGrpc(
        cluster_name=authorizer_cluster_name(authorizer), authority=authorizer.host, skip_envoy_headers=True
    )
    return grpc_service_pb2.GrpcService(envoy_grpc=envoy, timeout=duration(asks.timeout))


def _http(authorizer: Authorizer, asks: EnvoyExtAuthzHttp) -> ext_authz_pb2.HttpService:
    host = f"[{authorizer.host}]" if ":" in authorizer.host else authorizer.host
    uri = http_uri_pb2.HttpUri(
        uri=f"http://{host}:{asks.port}", cluster=authorizer_cluster_name(authorizer), timeout=duration(asks.timeout)
    )
    return ext_authz_pb2.HttpService(
        server_uri=uri,
        path_prefix=asks.path_prefix,
        authorization_request=ext_authz_pb2.AuthorizationRequest(
            headers_to_add=[_added(name, value) for name, value in sorted(asks.include_additional_headers_in_check.items())]
        ),
        authorization_response=ext_authz_pb2.AuthorizationResponse(
            allowed_upstream_headers=_optional(asks.headers_to_upstream_on_allow),
            allowed_client_headers=_optional(asks.headers_to_downstream_on_deny),
            allowed_client_headers_on_success=_optional(asks.headers_to_downstream_on_allow),
        ),
    )


def _added(name: str, value: str) -> base_pb2.HeaderValue:
    # The value is meant as it stands: it is none of Envoy's formats.
    return base_pb2.HeaderValue(key=name, value=value.replace("%", "%%"))


def _optional(names: tuple[str, ...]) -> Headers | None:
    return _headers(names) if names else None


def _headers(names: Iterable[str]) -> Headers:
    return Headers(patterns=[_header(name) for name in names])


def _header(name: str) -> string_pb2.StringMatcher:
    if name.endswith("*"):
        return string_pb2.StringMatcher(prefix=name[:-1], ignore_case=True)
    if name.startswith("*"):
        return string_pb2.StringMatcher(suffix=name[1:], ignore_case=True)
    return string_pb2.StringMatcher(exact=name, ignore_case=True)


def _body(asks: ExternalAuthorization) -> ext_authz_pb2.BufferSettings | None:
    body = asks.include_request_body_in_check
    if body is None:
        return None
    return ext_authz_pb2.BufferSettings(
        max_request_bytes=body.max_request_bytes, allow_partial_message=body.allow_partial_message, pack_as_bytes=body.pack_as_bytes
    )


def _status(asks: ExternalAuthorization) -> http_status_pb2.StatusCode.ValueType:
    known = http_status_pb2.StatusCode.values()
    code = int(asks.status_on_error)
    # Of those that Envoy has no word for (418) it would refuse the whole configuration.
    return http_status_pb2.StatusCode.ValueType(code) if code in known else http_status_pb2.StatusCode.Forbidden
