"""Services that policies may ask: settings of the mesh, with what cannot work told by line."""

from datetime import timedelta

import pytest

from hauberk.api.extension_provider import EnvoyExtAuthzHttp
from hauberk.api.mesh_config import parse_mesh_config


def told(text: str) -> list[tuple[str, tuple[str | int, ...]]]:
    return [(each.code, each.at[1:]) for each in parse_mesh_config(f"extensionProviders: [{text}]\n")[1]]


def http(more: str) -> str:
    return f"{{name: a, envoyExtAuthzHttp: {{service: opa.shop.svc.cluster.local, port: 9000, {more}}}}}"


def test_every_field_of_both_protocols_is_known() -> None:
    text = """
    extensionProviders:
    - name: over-http
      envoyExtAuthzHttp:
        service: shop/opa.shop.svc.cluster.local
        port: 8000
        timeout: 250ms
        pathPrefix: /check
        failOpen: false
        clearRouteCache: true
        statusOnError: "503"
        includeRequestHeadersInCheck: [cookie, "x-ext-*", "*-id"]
        includeAdditionalHeadersInCheck: {x-mesh: shop}
        includeRequestBodyInCheck: {maxRequestBytes: 1024, allowPartialMessage: true}
        headersToUpstreamOnAllow: [x-user]
        headersToDownstreamOnDeny: [set-cookie]
        headersToDownstreamOnAllow: [set-cookie]
    - name: over-grpc
      envoyExtAuthzGrpc: {service: 10.0.0.7, port: 9000}
    """
    config, findings = parse_mesh_config(text)
    assert config and not findings
    provider = config.provider("over-http")
    assert provider and isinstance(provider.authorizes, EnvoyExtAuthzHttp)
    assert provider.authorizes.timeout == timedelta(milliseconds=250)
    other = config.provider("over-grpc")
    assert other and other.authorizes
    assert (other.authorizes.timeout, other.authorizes.fail_open, other.authorizes.status_on_error) == (timedelta(seconds=1), False, "403")
    assert config.provider("none") is None


def test_providers_of_other_kinds_are_named_in_a_warning() -> None:
    config, findings = parse_mesh_config("extensionProviders: [{name: jaeger, opentelemetry: {service: otel}}]\n")
    assert config and [each.code for each in findings] == ["HBK0402"]
    assert "opentelemetry" in findings[0].message


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("{name: '', prometheus: {}}", "HBK0110", "name"),
        (http("timeout: 0s"), "HBK0107", "timeout"),
        (http("timeout: 600s, statusOnError: '42'"), "HBK0110", "statusOnError"),
        (http("pathPrefix: check"), "HBK0110", "pathPrefix"),
        (http("includeRequestHeadersInCheck: ['*']"), "HBK0110", 0),
        (http("headersToUpstreamOnAllow: ['a*b']"), None, None),
        (http("headersToUpstreamOnAllow: ['a b']"), "HBK0110", 0),
        (http("includeRequestBodyInCheck: {}"), "HBK0107", "maxRequestBytes"),
        (http("includeRequestBodyInCheck: {maxRequestBytes: 99999999}"), "HBK0107", "maxRequestBytes"),
        (http("includeAdditionalHeadersInCheck: {Host: a}"), "HBK0110", "Host"),
        (http(f"includeAdditionalHeadersInCheck: {{x-a: {'a' * 8193}}}"), "HBK0110", "x-a"),
        (http("port2: 5"), "HBK0103", "port2"),
        ("{name: a, envoyExtAuthzGrpc: {service: 'a b', port: 1}}", "HBK0110", "service"),
        ("{name: a, envoyExtAuthzGrpc: {port: 1}}", "HBK0105", "service"),
    ],
)
def test_what_cannot_work_is_refused(text: str, code: str | None, field: str | int | None) -> None:
    found = [(each, at[-1]) for each, at in told(text) if each != "HBK0402"]
    assert found == ([(code, field)] if code else [])


def test_a_provider_is_of_one_kind_and_has_a_name_of_its_own() -> None:
    grpc = "envoyExtAuthzGrpc: {service: a, port: 1}"
    assert told(f"{{name: a, {grpc}, envoyExtAuthzHttp: {{service: a, port: 1}}}}") == [("HBK0113", (0,))]
    assert told(f"{{name: a, {grpc}}}, {{name: a, {grpc}}}") == [("HBK0112", (1, "name"))]
