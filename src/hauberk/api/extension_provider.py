"""External services that policies may ask: `extensionProviders` of the mesh's settings (S-A14)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar, Final

from hauberk.api.duration import Duration
from hauberk.api.model import ApiModel, Bool, Count, Port

DEFAULT_TIMEOUT: Final = timedelta(seconds=1)  # Istio waits ten minutes, through which a dead service would hold every request


class RequestBody(ApiModel):
    """How much of a request's body the service sees."""

    max_request_bytes: Count = 0
    allow_partial_message: Bool = False
    pack_as_bytes: Bool = False  # gRPC only


class ExternalAuthorization(ApiModel):
    """What both protocols have in common. Without an answer the request is refused, unless `fail_open`."""

    service: str  # HOST, or NAMESPACE/HOST
    port: Port
    timeout: Duration = DEFAULT_TIMEOUT
    fail_open: Bool = False
    clear_route_cache: Bool = False
    status_on_error: str = "403"
    include_request_body_in_check: RequestBody | None = None


class EnvoyExtAuthzGrpc(ExternalAuthorization):
    """A service that speaks Envoy's gRPC protocol of authorization; it can be asked about TCP connections too."""


class EnvoyExtAuthzHttp(ExternalAuthorization):
    """A service that is asked by an HTTP request and refuses by any status but 200. Names of headers may end or begin with a star."""

    path_prefix: str = ""
    include_request_headers_in_check: tuple[str, ...] = ()
    include_headers_in_check: tuple[str, ...] = ()  # the older name of the field above
    include_additional_headers_in_check: Mapping[str, str] = {}
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()


class ExtensionProvider(ApiModel):
    """One provider by its name; of Istio's kinds those that authorize are known."""

    IGNORED: ClassVar[frozenset[str]] = frozenset(
        {
            *("zipkin", "lightstep", "datadog", "stackdriver", "opencensus", "skywalking", "opentelemetry", "prometheus"),
            *("envoyFileAccessLog", "envoyHttpAls", "envoyTcpAls", "envoyOtelAls", "sds"),
        }
    )

    name: str
    envoy_ext_authz_grpc: EnvoyExtAuthzGrpc | None = None
    envoy_ext_authz_http: EnvoyExtAuthzHttp | None = None

    @property
    def authorizes(self) -> EnvoyExtAuthzGrpc | EnvoyExtAuthzHttp | None:
        """How it is asked; None for a provider of another kind, which no policy can name."""
        return self.envoy_ext_authz_grpc or self.envoy_ext_authz_http
