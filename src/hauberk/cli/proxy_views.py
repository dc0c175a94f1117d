"""Envoy's configuration dump as tables, in the shapes that istioctl made familiar. Pure: JSON in, rows out."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hauberk.cli.table import Cell, bad, good
from hauberk.cli.views import get

Document = dict[str, Any]
Rows = list[list[str | Cell]]


@dataclass(frozen=True, slots=True)
class Listing:
    """A table of one part of the configuration."""

    header: tuple[str, ...]
    rows: Rows


SECTIONS = {
    "listeners": "ListenersConfigDump",
    "routes": "RoutesConfigDump",
    "clusters": "ClustersConfigDump",
    "endpoints": "EndpointsConfigDump",
    "secrets": "SecretsConfigDump",
    "bootstrap": "BootstrapConfigDump",
}


def section(dump: Document, name: str) -> Document:
    """The part of a configuration dump that is called so; empty if the dump has none."""
    for each in dump.get("configs", []):
        if str(each.get("@type", "")).endswith("." + SECTIONS[name]):
            found: Document = each
            return found
    return {}


def levels(answer: str) -> list[str]:
    """The level most loggers have, and each that differs: sixty equal lines help nobody."""
    found = dict(line.strip().split(": ", 1) for line in answer.splitlines() if ": " in line)
    counts = Counter(found.values())
    usual = counts.most_common(1)[0][0] if counts else "unknown"
    rest = sorted(f"{logger}: {level}" for logger, level in found.items() if level != usual)
    return [f"{'all' if not rest else counts[usual]} loggers: {usual}", *rest]


def _bodies(part: Document, keys: tuple[str, ...], field: str) -> Iterator[Document]:
    for key in keys:
        for each in part.get(key, []):
            body = get(each, "active_state", field) or each.get(field)
            if body:
                yield body


def listing(dump: Document, name: str) -> Listing:
    """One part of the dump as a table."""
    part = section(dump, name)
    match name:
        case "listeners":
            return Listing(("LISTENER", "ADDRESS", "PORT", "MATCH", "DESTINATION"), list(_listeners(part)))
        case "routes":
            return Listing(("ROUTES", "VIRTUAL HOST", "DOMAINS", "MATCH", "DESTINATION"), list(_routes(part)))
        case "clusters":
            return Listing(("SERVICE", "PORT", "SUBSET", "DIRECTION", "TYPE"), list(_clusters(part)))
        case "endpoints":
            return Listing(("ENDPOINT", "STATUS", "CLUSTER"), list(_endpoints(part)))
        case _:
            return Listing(("SECRET", "TYPE", "STATUS", "SERIAL", "NOT AFTER", "IDENTITY"), list(_secrets(part)))


def _listeners(part: Document) -> Iterator[list[str | Cell]]:
    found = sorted(
        _bodies(part, ("static_listeners", "dynamic_listeners"), "listener"), key=lambda each: _port(each) + str(each.get("name"))
    )
    for listener in found:
        address = str(get(listener, "address", "socket_address", "address", default="(internal)"))
        chains = [*listener.get("filter_chains", []), *([listener["default_filter_chain"]] if "default_filter_chain" in listener else [])]
        for chain in chains:
            port = str(get(listener, "address", "socket_address", "port_value", default="-"))
            yield [str(listener.get("name", "-")), address, port, _match(chain), _chain_destination(chain)]


def _port(listener: Document) -> str:
    return f"{get(listener, 'address', 'socket_address', 'port_value', default=0):>6}"


def _match(chain: Document) -> str:
    match = chain.get("filter_chain_match") or {}
    parts = []
    if port := match.get("destination_port"):
        parts.append(f"port {port}")
    if protocol := match.get("transport_protocol"):
        parts.append(f"transport {protocol}")
    if alpn := match.get("application_protocols"):
        parts.append(f"ALPN {','.join(alpn)}")
    parts += [f"to {each.get('address_prefix')}/{each.get('prefix_len', 0)}" for each in match.get("prefix_ranges", [])]
    parts += [f"SNI {','.join(match['server_names'])}"] if match.get("server_names") else []
    return "; ".join(parts) or str(chain.get("name") or "all")


def _chain_destination(chain: Document) -> str:
    for each in chain.get("filters", []):
        config = each.get("typed_config") or {}
        if route := get(config, "rds", "route_config_name"):
            return f"routes {route}"
        if inline := get(config, "route_config"):
            names = {get(route, "route", "cluster") for host in inline.get("virtual_hosts", []) for route in host.get("routes", [])}
            return f"inline routes to {', '.join(sorted(str(name) for name in names if name)) or 'nowhere'}"
        if cluster := config.get("cluster"):
            return f"cluster {cluster}"
        if weighted := get(config, "weighted_clusters", "clusters"):
            return "clusters " + ", ".join(str(one.get("name")) for one in weighted)
    return "-"


def _routes(part: Document) -> Iterator[list[str | Cell]]:
    for config in sorted(
        _bodies(part, ("static_route_configs", "dynamic_route_configs"), "route_config"), key=lambda each: str(each.get("name"))
    ):
        for host in config.get("virtual_hosts", []):
            for route in host.get("routes", []):
                domains = host.get("domains", [])
                shown = ", ".join(domains[:2]) + (f" + {len(domains) - 2} more" if len(domains) > 2 else "")
                yield [str(config.get("name") or "-"), str(host.get("name", "-")), shown, _route_match(route), _route_destination(route)]


def _route_match(route: Document) -> str:
    match = route.get("match") or {}
    for key, sign in (("prefix", "*"), ("path", ""), ("path_separated_prefix", "/*")):
        if key in match:
            return f"{match[key]}{sign}"
    return str(get(match, "safe_regex", "regex", default="-"))


def _route_destination(route: Document) -> str:
    if "direct_response" in route:
        return f"status {get(route, 'direct_response', 'status')}"
    weighted = get(route, "route", "weighted_clusters", "clusters")
    if weighted:
        return ", ".join(f"{each.get('name')} {each.get('weight', 0)}" for each in weighted)
    return str(get(route, "route", "cluster", default="-"))


def _clusters(part: Document) -> Iterator[list[str | Cell]]:
    bodies = _bodies(part, ("static_clusters", "dynamic_active_clusters", "dynamic_warming_clusters"), "cluster")
    for cluster in sorted(bodies, key=lambda each: str(each.get("name"))):
        direction, port, subset, host = _named(str(cluster.get("name", "-")))
        yield [host, port, subset, direction, str(cluster.get("type") or get(cluster, "cluster_type", "name", default="STATIC"))]


def _named(name: str) -> tuple[str, str, str, str]:
    """Direction, port, subset and host in a cluster's name, which says all of them."""
    parts = name.split("|")
    if len(parts) != 4:
        return "-", "-", "-", name
    direction, port, subset, host = parts
    return direction, port or "-", subset or "-", host or "(this pod)"


def _endpoints(part: Document) -> Iterator[list[str | Cell]]:
    for assignment in _bodies(part, ("static_endpoint_configs", "dynamic_endpoint_configs"), "endpoint_config"):
        for locality in assignment.get("endpoints", []):
            for each in locality.get("lb_endpoints", []):
                status = str(each.get("health_status", "HEALTHY"))
                shown = good("healthy") if status in ("HEALTHY", "UNKNOWN") else bad(status.lower())
                yield [_address(get(each, "endpoint", "address", default={})), shown, str(assignment.get("cluster_name", "-"))]


def _address(address: Document) -> str:
    if socket := address.get("socket_address"):
        host = str(socket.get("address"))
        return f"[{host}]:{socket.get('port_value')}" if ":" in host else f"{host}:{socket.get('port_value')}"
    return str(get(address, "pipe", "path") or get(address, "envoy_internal_address", "server_listener_name", default="-"))


def _secrets(part: Document) -> Iterator[list[str | Cell]]:
    for key, state in (
        ("dynamic_active_secrets", good("active")),
        ("static_secrets", good("static")),
        ("dynamic_warming_secrets", bad("warming")),
    ):
        for each in part.get(key, []):
            secret = each.get("secret") or {}
            chain = get(secret, "tls_certificate", "certificate_chain", "inline_bytes")
            bundle = get(secret, "validation_context", "trusted_ca", "inline_bytes")
            kind = "certificate" if chain else "trust bundle" if bundle else "-"
            serial, expires, identity = _certificate(chain or bundle)
            yield [str(each.get("name", "-")), kind, state, serial, expires, identity]


def _certificate(encoded: str | None) -> tuple[str, str, str]:
    """Serial, end and subject of the first certificate of a PEM text in base64."""
    if not encoded:
        return "-", "-", "-"
    from cryptography import x509  # noqa: PLC0415 -- 60 ms that only `proxy config … secrets` should cost

    found = x509.load_pem_x509_certificates(base64.b64decode(encoded))[0]
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        identity = ", ".join(names.get_values_for_type(x509.UniformResourceIdentifier))
    except x509.ExtensionNotFound:
        identity = found.subject.rfc4514_string()
    return f"{found.serial_number:x}", found.not_valid_after_utc.isoformat().replace("+00:00", "Z"), identity
