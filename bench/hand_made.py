"""Two proxies configured by hand, the least that does a sidecar's work: what the mesh is compared with.

Mutual TLS 1.3 with SPIFFE names, HTTP/2 between the two, one ALLOW rule about the caller. No records, no request ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.program import PORT
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.template import build_leaf, build_root
from hauberk.interception.ruleset import INBOUND_MARK, INBOUND_PORT, OUTBOUND_MARK, OUTBOUND_PORT

DOMAIN = "cluster.local"
NAMESPACE = "bench"
# HAProxy cannot mark its sockets, so its two ends meet on a port of their own that nothing captures.
HAPROXY_PORT = 15443
_DAY = timedelta(days=1)
_MANY = 1_000_000

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files of one side: certificate, key, both in one, and the root."""

    certificate: Path
    key: Path
    both: Path
    root: Path


def make_credentials(directory: Path) -> dict[str, Credentials]:
    """`client` and `server`, signed by a root made for this run."""
    now = datetime.now(UTC)
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = build_root(trust_domain=DOMAIN, public_key=root_key.public_key(), serial=1 << 126, now=now, lifetime=_DAY).sign(
        root_key, hashes.SHA256()
    )
    root_file = directory / "root.pem"
    root_file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    made = {}
    for number, side in enumerate(("client", "server")):
        key = ec.generate_private_key(ec.SECP256R1())
        template = build_leaf(
            spiffe_id=workload_id(DOMAIN, NAMESPACE, side),
            public_key=key.public_key(),
            issuer=root,
            serial=(1 << 126) + 1 + number,
            now=now,
            lifetime=_DAY / 2,
        )
        certificate = template.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        made[side] = Credentials(directory / f"{side}.pem", directory / f"{side}.key", directory / f"{side}.both", root_file)
        made[side].certificate.write_bytes(certificate)
        made[side].key.write_bytes(secret)
        made[side].both.write_bytes(certificate + secret)
    return made


def envoy_client(credentials: Credentials, server: str, *, records: Path | None = None) -> str:
    """Envoy's configuration beside the caller."""
    upstream = _cluster("server", server, PORT, OUTBOUND_MARK)
    upstream["transport_socket"] = _tls("Upstream", credentials, ["h2"], {"sni": "server", "max_session_keys": 0})
    upstream["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}}
        )
    }
    chain = {"filters": [_http_connections("out", "server", [], records)]}
    return _envoy("client", OUTBOUND_PORT, chain, upstream)


def envoy_server(credentials: Credentials, *, records: Path | None = None) -> str:
    """Envoy's configuration beside the server."""
    only_client = {"authenticated": {"principal_name": {"exact": str(workload_id(DOMAIN, NAMESPACE, "client"))}}}
    rule = {"permissions": [{"url_path": {"path": {"prefix": "/"}}}], "principals": [only_client]}
    allow = typed("envoy.extensions.filters.http.rbac.v3.RBAC", rules={"action": "ALLOW", "policies": {"client": rule}})
    chain = {
        "filters": [_http_connections("in", "program", [{"name": "rbac", "typed_config": allow}], records)],
        "transport_socket": _tls("Downstream", credentials, ["h2", "http/1.1"], {"require_client_certificate": True}),
    }
    return _envoy("server", INBOUND_PORT, chain, _cluster("program", "127.0.0.1", PORT, INBOUND_MARK))


def haproxy_client(credentials: Credentials, server: str) -> str:
    """HAProxy's configuration beside the caller."""
    tls = f"ssl crt {credentials.both} ca-file {credentials.root} verify required ssl-min-ver TLSv1.3 alpn h2"
    return _haproxy(f"bind :{OUTBOUND_PORT}", f"server it {server}:{HAPROXY_PORT} {tls}")


def haproxy_server(credentials: Credentials) -> str:
    """HAProxy's configuration beside the server."""
    tls = f"ssl crt {credentials.both} ca-file {credentials.root} verify required ssl-min-ver TLSv1.3 alpn h2"
    return _haproxy(f"bind :{HAPROXY_PORT} {tls}", f"server it 127.0.0.1:{PORT}")


def _envoy(name: str, port: int, chain: Document, cluster: Document) -> str:
    listener = {"name": name, "address": _address("0.0.0.0", port), "filter_chains": [chain]}
    return json.dumps({"node": {"id": name, "cluster": "bench"}, "static_resources": {"listeners": [listener], "clusters": [cluster]}})


def _http_connections(name: str, cluster: str, filters: list[Document], records: Path | None) -> Document:
    router = typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True)
    route = {"match": {"prefix": "/"}, "route": {"cluster": cluster}}
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        generate_request_id=records is not None,
        normalize_path=True,
        merge_slashes=True,
        http_filters=[*filters, {"name": "router", "typed_config": router}],
        route_config={"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        access_log=[] if records is None else [_record(records)],
    )
    return {"name": "http", "typed_config": manager}


def _record(path: Path) -> Document:
    """What an operator would write down of each request."""
    line = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "duration": "%DURATION%",
        "peer": "%DOWNSTREAM_PEER_URI_SAN%",
        "request": "%REQ(X-REQUEST-ID)%",
        "upstream": "%UPSTREAM_HOST%",
    }
    log = typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", path=str(path), log_format={"json_format": line})
    return {"name": "file", "typed_config": log}


def _cluster(name: str, address: str, port: int, mark: int) -> Document:
    endpoint = {"endpoint": {"address": _address(address, port)}}
    option = {"level": 1, "name": 36, "int_value": mark, "state": "STATE_PREBIND"}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "upstream_bind_config": {"socket_options": [option]},
        "circuit_breakers": {"thresholds": [{"max_connections": _MANY, "max_pending_requests": _MANY, "max_requests": _MANY}]},
    }


def _tls(side: str, credentials: Credentials, protocols: list[str], more: Document) -> Document:
    names = [{"san_type": "URI", "matcher": {"prefix": f"spiffe://{DOMAIN}/"}}]
    common = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [
            {"certificate_chain": {"filename": str(credentials.certificate)}, "private_key": {"filename": str(credentials.key)}}
        ],
        "validation_context": {"trusted_ca": {"filename": str(credentials.root)}, "match_typed_subject_alt_names": names},
        "alpn_protocols": protocols,
    }
    kind = f"envoy.extensions.transport_sockets.tls.v3.{side}TlsContext"
    return {"name": "tls", "typed_config": typed(kind, common_tls_context=common, **more)}


def typed(name: str, **fields: Any) -> Document:
    return {"@type": f"type.googleapis.com/{name}", **fields}


def _address(address: str, port: int) -> Document:
    return {"socket_address": {"address": address, "port_value": port}}


def _haproxy(front: str, back: str) -> str:
    return f"""
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
    http-reuse always
frontend in
    {front}
    default_backend out
backend out
    {back}
"""
