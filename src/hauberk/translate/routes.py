"""Route configurations: which cluster a request goes to, and under which rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from envoy.config.core.v3 import extension_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.router.cluster_specifiers.matcher.v3 import matcher_pb2 as specifier_pb2
from envoy.type.matcher.v3 import filter_state_pb2, string_pb2
from google.protobuf import any_pb2
from xds.core.v3 import extension_pb2 as matching_pb2
from xds.type.matcher.v3 import matcher_pb2

from hauberk.envoy.message import any_, boolean, duration, uint32
from hauberk.envoy.name import PASSTHROUGH, outbound
from hauberk.mesh.service import MeshPort, MeshService
from hauberk.translate.access_log import LIMITING_KEY, ROUTE_METADATA
from hauberk.translate.rbac import plain_is_refused

Route = route_components_pb2.Route
RouteAction = route_components_pb2.RouteAction
VirtualHost = route_components_pb2.VirtualHost
RetryPolicy = route_components_pb2.RetryPolicy
Matcher = matcher_pb2.Matcher

# Only what cannot have reached the program, or what it refused unseen, is tried again.
_RETRY_OUTBOUND: Final = "connect-failure,refused-stream,unavailable,cancelled,reset-before-request"
_RETRY_INBOUND: Final = "reset-before-request"
_RETRIES: Final = 2
_HOST_ATTEMPTS: Final = 5
_FORBIDDEN: Final = 403

# Where a listener for several services keeps the address that the program connected to.
DESTINATION_STATE: Final = "hauberk.destination"


def service_host(service: MeshService, port: MeshPort, domains: Iterable[str]) -> VirtualHost:
    """Requests for `domains` go to `port` of `service`."""
    return VirtualHost(
        name=f"{service.host}:{port.port}",
        domains=domains,
        routes=[_route(RouteAction(cluster=str(outbound(port.port, service.host))))],
        retry_policy=_outbound_retry(),
    )


def domains_of(service: MeshService, namespace: str, cluster_domain: str) -> tuple[str, ...]:
    """What a program in `namespace` may call `service`: every name that resolves to it there, and its addresses."""
    names = [service.host, *service.short_names(cluster_domain)]
    if service.key.namespace == namespace:
        names.append(service.key.name)
    if service.headless:
        # web-0.web.shop.svc…: the pods' own names below the service's.
        names += [f"*.{name}" for name in names]
    return (*names, *(f"[{address}]" if ":" in address else address for address in service.addresses))


def outbound_routes(name: str, hosts: Iterable[VirtualHost]) -> route_pb2.RouteConfiguration:
    """The configuration `name`; ports in the Host header make no difference."""
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=hosts, ignore_port_in_host_matching=True, validate_clusters=boolean(False))


def any_host(service: MeshService, port: MeshPort) -> VirtualHost:
    """Whatever the Host header says, it is `port` of `service`: the program connected to its address."""
    return service_host(service, port, ("*",))


def unknown_hosts(by_address: Mapping[str, str], *, registry_only: bool) -> VirtualHost:
    """Requests whose Host the mesh does not know: to a service's cluster `by_address`, if the program connected to one of these.

    All others go outside, or nowhere.
    """
    if registry_only:
        # A route for each address: what is answered here instead of being sent on cannot be said by a table of clusters.
        routes = [_route(RouteAction(cluster=cluster), _connected_to(address)) for address, cluster in by_address.items()]
        nowhere = Route(name="default", match=_everything(), direct_response=route_components_pb2.DirectResponseAction(status=502))
        return VirtualHost(name="block_all", domains=["*"], routes=[*routes, nowhere], retry_policy=_outbound_retry())
    # An empty table would be refused.
    action = RouteAction(inline_cluster_specifier_plugin=_by_address(by_address)) if by_address else RouteAction(cluster=PASSTHROUGH)
    return VirtualHost(name="allow_any", domains=["*"], routes=[_route(action)], retry_policy=_outbound_retry())


def _by_address(clusters: Mapping[str, str]) -> route_components_pb2.ClusterSpecifierPlugin:
    """One look-up for all services, a fifth of the memory of a route for each; PASSTHROUGH for what is in none."""
    # Not by the connection's own address: a cluster specifier with that input ends Envoy 1.40 by a null pointer.
    key = matching_pb2.TypedExtensionConfig(
        name="destination", typed_config=any_(network_inputs_pb2.FilterStateInput(key=DESTINATION_STATE))
    )
    table = Matcher.MatcherTree.MatchMap(map={address: _chosen(cluster) for address, cluster in clusters.items()})
    matcher = Matcher(matcher_tree=Matcher.MatcherTree(input=key, exact_match_map=table), on_no_match=_chosen(PASSTHROUGH))
    specifier = any_(specifier_pb2.MatcherClusterSpecifier(cluster_matcher=matcher))
    return route_components_pb2.ClusterSpecifierPlugin(extension=extension_pb2.TypedExtensionConfig(name="address", typed_config=specifier))


def _chosen(cluster: str) -> Matcher.OnMatch:
    action = any_(specifier_pb2.ClusterAction(cluster=cluster))
    return Matcher.OnMatch(action=matching_pb2.TypedExtensionConfig(name="cluster", typed_config=action))


def inbound_routes(
    name: str, cluster: str, rules: Mapping[str, any_pb2.Any], limiting: str, *, grpc: bool, strict: bool = False
) -> route_pb2.RouteConfiguration:
    """All requests to one port of the program, under `rules` (what filters are told).

    `strict`: none of a connection without mutual TLS, also if it was made when such connections were still taken.
    """
    action = RouteAction(cluster=cluster, timeout=duration(0))
    if not grpc:
        action.retry_policy.CopyFrom(RetryPolicy(retry_on=_RETRY_INBOUND, num_retries=uint32(_RETRIES)))
    route = Route(name="default", match=_everything(), route=action)
    # The deadline that a gRPC client states is for the program to keep.
    action.max_stream_duration.max_stream_duration.CopyFrom(duration(0))
    action.max_stream_duration.grpc_timeout_header_max.CopyFrom(duration(0))
    route.route.CopyFrom(action)
    if limiting:
        route.metadata.filter_metadata[ROUTE_METADATA].update({LIMITING_KEY: limiting})
    host = VirtualHost(name=name, domains=["*"], routes=[route])
    if strict:
        route.match.tls_context.presented.CopyFrom(boolean(True))
        host = VirtualHost(name=name, domains=["*"], routes=[route, _plain()])
    configuration = route_pb2.RouteConfiguration(name=name, virtual_hosts=[host], validate_clusters=boolean(False))
    for filter_name, told in rules.items():
        configuration.typed_per_filter_config[filter_name].CopyFrom(told)
    return configuration


def _plain() -> Route:
    # The rule refuses with a name that records show; the answer is what is left if no filter asks it.
    refused = Route(name="plain", match=_everything(), direct_response=route_components_pb2.DirectResponseAction(status=_FORBIDDEN))
    for filter_name, told in plain_is_refused().items():
        refused.typed_per_filter_config[filter_name].CopyFrom(told)
    return refused


def _route(action: RouteAction, match: route_components_pb2.RouteMatch | None = None) -> Route:
    action.timeout.CopyFrom(duration(0))
    return Route(name="default", match=match or _everything(), route=action)


def _connected_to(address: str) -> route_components_pb2.RouteMatch:
    state = filter_state_pb2.FilterStateMatcher(key=DESTINATION_STATE, string_match=string_pb2.StringMatcher(exact=address))
    return route_components_pb2.RouteMatch(prefix="/", filter_state=[state])


def _outbound_retry() -> RetryPolicy:
    another = RetryPolicy.RetryHostPredicate(
        name="envoy.retry_host_predicates.previous_hosts", typed_config=any_(previous_hosts_pb2.PreviousHostsPredicate())
    )
    return RetryPolicy(
        retry_on=_RETRY_OUTBOUND,
        num_retries=uint32(_RETRIES),
        retry_host_predicate=[another],
        host_selection_retry_max_attempts=_HOST_ATTEMPTS,
    )


def _everything() -> route_components_pb2.RouteMatch:
    return route_components_pb2.RouteMatch(prefix="/")
