"""Mistakes in `extensionProviders` that types alone do not show (S-A14)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from typing import Final

from hauberk.api.extension_provider import EnvoyExtAuthzHttp, ExtensionProvider, ExternalAuthorization
from hauberk.api.finding import Finding, Location
from hauberk.api.header_name import header_fault
from hauberk.api.name import subdomain_fault

MOST_PROVIDERS = 64
LONGEST_HEADER = 8192  # of those that are added; Envoy takes 16 KiB, in which a % is two
LARGEST_BODY = 10 * 1024 * 1024  # held in the proxy's memory while the service thinks
SHORTEST_TIMEOUT: Final = timedelta(milliseconds=1)
LONGEST_TIMEOUT: Final = timedelta(minutes=10)


def check_providers(at: Location, providers: tuple[ExtensionProvider, ...]) -> Iterator[Finding]:
    """Mistakes of all providers of the mesh."""
    if len(providers) > MOST_PROVIDERS:
        yield Finding("HBK0107", at, f"{len(providers)} providers; at most {MOST_PROVIDERS} are allowed")
    seen: set[str] = set()
    for index, provider in enumerate(providers[:MOST_PROVIDERS]):
        here: Location = (*at, index)
        if not provider.name or len(provider.name) > 253 or not provider.name.isprintable():
            yield Finding("HBK0110", (*here, "name"), "a provider needs a name of 1 to 253 characters that can be seen")
        if provider.name in seen:
            yield Finding("HBK0112", (*here, "name"), f"the name {provider.name} is used already")
        seen.add(provider.name)
        if provider.envoy_ext_authz_grpc and provider.envoy_ext_authz_http:
            yield Finding("HBK0113", here, "one provider is either envoyExtAuthzGrpc or envoyExtAuthzHttp")
        elif service := provider.authorizes:
            field = "envoyExtAuthzHttp" if isinstance(service, EnvoyExtAuthzHttp) else "envoyExtAuthzGrpc"
            yield from _check_service((*here, field), service)


def _check_service(at: Location, service: ExternalAuthorization) -> Iterator[Finding]:
    if fault := _host_fault(service.service):
        yield Finding("HBK0110", (*at, "service"), f"{service.service!r:.300} is no service: it {fault}")
    if not SHORTEST_TIMEOUT <= service.timeout <= LONGEST_TIMEOUT:
        yield Finding("HBK0107", (*at, "timeout"), "the time for an answer must be between 1ms and 10m")
    status = service.status_on_error
    if not (status.isascii() and status.isdigit() and len(status) == 3 and 200 <= int(status) <= 599):
        yield Finding("HBK0110", (*at, "statusOnError"), f"{status!r:.60} is no status of HTTP between 200 and 599")
    body = service.include_request_body_in_check
    if body and not 1 <= body.max_request_bytes <= LARGEST_BODY:
        place = (*at, "includeRequestBodyInCheck", "maxRequestBytes")
        yield Finding("HBK0107", place, f"{body.max_request_bytes} is out of range; it must be between 1 and {LARGEST_BODY:,}")
    if isinstance(service, EnvoyExtAuthzHttp):
        yield from _check_http(at, service)


def _host_fault(text: str) -> str | None:
    host = text.rpartition("/")[2]
    try:
        ip_address(host)
    except ValueError:
        return subdomain_fault(host.lower())
    return None


def _check_http(at: Location, service: EnvoyExtAuthzHttp) -> Iterator[Finding]:
    prefix = service.path_prefix
    if prefix and (not prefix.startswith("/") or not prefix.isascii() or not prefix.isprintable() or any(c in prefix for c in "?# ")):
        yield Finding("HBK0110", (*at, "pathPrefix"), f"{prefix!r:.200} is no path: it must begin with a slash, without query")
    lists = {
        "includeRequestHeadersInCheck": service.include_request_headers_in_check,
        "includeHeadersInCheck": service.include_headers_in_check,
        "headersToUpstreamOnAllow": service.headers_to_upstream_on_allow,
        "headersToDownstreamOnDeny": service.headers_to_downstream_on_deny,
        "headersToDownstreamOnAllow": service.headers_to_downstream_on_allow,
    }
    for name, values in lists.items():
        for index, value in enumerate(values):
            if fault := header_fault(_without_star(value)):
                yield Finding("HBK0110", (*at, name, index), f"{value!r:.200} is no name, prefix* or *suffix of a header: it {fault}")
    for name, value in service.include_additional_headers_in_check.items():
        here: Location = (*at, "includeAdditionalHeadersInCheck", name)
        if fault := header_fault(name):
            yield Finding("HBK0110", here, f"{name!r:.200} is no name of a header: it {fault}")
        elif name.lower() == "host":
            yield Finding("HBK0110", here, f"{name} cannot be set: the service is asked by its own name")
        if len(value.encode()) > LONGEST_HEADER:
            yield Finding("HBK0110", here, f"the value has {len(value.encode()):,} bytes; at most {LONGEST_HEADER:,} are allowed")
        if not value.isprintable():
            yield Finding("HBK0110", here, "the value holds a character that cannot be seen")


def _without_star(value: str) -> str:
    """The name; of a lone star nothing is left, which is no name."""
    return value.removesuffix("*") if value.endswith("*") else value.removeprefix("*")
