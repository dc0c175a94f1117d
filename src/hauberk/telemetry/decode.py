"""From the line a sidecar wrote to an access record. The keys are those of `translate/access_log.py`.

Done in two steps: `Decoder` finds what a record is stored and counted by, for every line as it comes;
`build_record` makes the whole record, for the few that somebody looks at.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from hauberk.telemetry.decision import is_denied, read_decision
from hauberk.telemetry.layout import read_fields
from hauberk.telemetry.record import AccessRecord, Party, Reporter, Tls
from hauberk.telemetry.store import Entry

# W3C Trace Context: version, trace, span, flags. What a caller made up otherwise is not passed off as a trace.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-.*")
_MOST_KNOWN = 10_000  # strangers of many addresses must not fill the memory
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UndecodableLine(ValueError):
    """A line is not what a sidecar writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The pod whose sidecar wrote a line."""

    pod: str
    namespace: str
    identity: str = ""
    address: str = ""


# The pod (name, namespace) that has an address, if it is one of the mesh.
Resolve = Callable[[str], tuple[str, str] | None]


class Decoded(NamedTuple):
    """A line with what it is stored by and counted by; values that do not apply may be empty texts."""

    entry: Entry
    fields: dict[str, Any]


class Decoder:
    """Reads what the sidecar of `owner` writes.

    Most lines are about the same few parties: who they are is found out once, and again after `forget`, when addresses have got
    other owners.
    """

    def __init__(self, owner: Owner, resolve: Resolve) -> None:
        self._owner = owner
        self._resolve = resolve
        self._known: dict[tuple[object, ...], tuple[Party, Party]] = {}

    def forget(self) -> None:
        """`resolve` may answer otherwise from now on."""
        self._known.clear()

    def decode(self, line: bytes) -> Decoded:
        """What `line` is about; raises UndecodableLine."""
        try:
            fields = read_fields(line)
            source, destination = self._parties(fields)
            entry = Entry(int(fields["t"]), source, destination, is_denied(fields), fields.get("r") or "", line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise UndecodableLine(f"not a line of a sidecar: {exc}") from exc
        return Decoded(entry, fields)

    def _parties(self, fields: dict[str, Any]) -> tuple[Party, Party]:
        get = fields.get
        # All that `_parties` looks at.
        key = (fields["d"], get("oi"), get("pi"), get("c"), get("u"), get("la"), get("w"), get("n"), get("ch"))
        parties = self._known.get(key)
        if parties is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            parties = self._known[key] = _parties(fields, self._owner, self._resolve)
        return parties


def _parties(fields: dict[str, Any], owner: Owner, resolve: Resolve) -> tuple[Party, Party]:
    own = fields.get("oi") or owner.identity
    peer = fields.get("pi") or ""
    cluster = fields.get("c") or ""
    if fields["d"] == "o":
        source = Party(own, owner.pod, owner.namespace, owner.address)
        address = fields.get("u") or fields.get("la") or ""
        host = host_of(address)
        pod, namespace = _named(fields.get("w"), host) or resolve(host) or ("", "")
        service, port = _service_of_cluster(cluster)
        return source, Party(peer, pod, namespace, host, service, port or port_of(fields.get("la")))
    caller = fields.get("ch") or ""
    pod, namespace = resolve(caller) or ("", "")
    service, port = _service_of_name(fields.get("n"))
    port = port or _service_of_cluster(cluster)[1] or port_of(fields.get("la"))
    address = owner.address or host_of(fields.get("la"))
    return Party(peer, pod, namespace, caller), Party(own, owner.pod, owner.namespace, address, service, port)


def duration_ms(fields: dict[str, Any]) -> float:
    """How long it took, as exactly as is known."""
    micro = fields.get("us")
    return float(micro) / 1000 if micro not in (None, "") else float(fields.get("ms") or 0)


def build_record(line: bytes, source: Party, destination: Party) -> AccessRecord:
    """The whole record of a stored line and its parties; raises UndecodableLine."""
    try:
        return _record(read_fields(line), source, destination)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise UndecodableLine(f"not a line of a sidecar: {exc}") from exc


def _record(fields: dict[str, Any], source: Party, destination: Party) -> AccessRecord:
    status = fields.get("s")
    trace_id, span_id = _trace(fields)
    return AccessRecord(
        time=_EPOCH + timedelta(microseconds=int(fields["t"])),
        reporter=Reporter.SOURCE if fields["d"] == "o" else Reporter.DESTINATION,
        source=source,
        destination=destination,
        protocol=_protocol(fields),
        method=fields.get("m") or "",
        authority=fields.get("a") or "",
        path=fields.get("p") or "",
        status=int(status) if status else None,
        grpc_status=int(fields["g"]) if fields.get("g") is not None else None,
        flags=_given(fields.get("f")),
        details=_details(fields),
        duration_ms=duration_ms(fields),
        bytes_in=int(fields.get("bi") or 0),
        bytes_out=int(fields.get("bo") or 0),
        request_id=fields.get("r") or "",
        trace_id=trace_id,
        span_id=span_id,
        mtls=_tls(fields),
        decision=read_decision(fields),
    )


def _trace(fields: dict[str, Any]) -> tuple[str, str]:
    found = _TRACEPARENT.fullmatch(fields.get("tp") or "")
    return (found[1], found[2]) if found else ("", "")


def _protocol(fields: dict[str, Any]) -> str:
    if fields["k"] != "h":
        return "TCP"
    return "gRPC" if fields.get("g") is not None else fields.get("v") or "HTTP"


def _details(fields: dict[str, Any]) -> str:
    # The reason why a connection failed says more than what was made of it.
    return fields.get("ut") or fields.get("tf") or _given(fields.get("x"))


def _tls(fields: dict[str, Any]) -> Tls | None:
    version, peer = _given(fields.get("tv")), fields.get("pi")
    # Without a certificate of the peer it is somebody's own TLS and proves nobody's identity.
    if not version or not peer:
        return None
    return Tls(version=version, cipher=_given(fields.get("tc")), group=_given(fields.get("tg")))


def host_of(address: str | None) -> str:
    """`10.0.0.1:80` and `[fd00::1]:80` without their port."""
    return address.rpartition(":")[0].strip("[]") if address else ""


def port_of(address: str | None) -> int:
    """The port of such an address, 0 if there is none."""
    port = address.rpartition(":")[2] if address else ""
    return int(port) if port.isdecimal() else 0


def _named(name: str | None, host: str) -> tuple[str, str] | None:
    """NAME.NAMESPACE of a pod as Envoy knows its endpoint; an address there says nothing."""
    if not name or name == host or name.startswith(host + ":") or ":" in name:
        return None
    pod, dot, namespace = name.rpartition(".")
    return (pod, namespace) if dot and not namespace.isdecimal() else None


def _service_of_cluster(cluster: str) -> tuple[str, int]:
    """Host and port of `outbound|80||web.shop.svc.cluster.local`."""
    parts = cluster.split("|")
    return (parts[3], int(parts[1])) if len(parts) == 4 and parts[1].isdecimal() else ("", 0)


def _service_of_name(name: str | None) -> tuple[str, int]:
    """Host and port of `outbound_.80_._.web.shop.svc.cluster.local`."""
    parts = name.split("_.", 3) if name else []
    return (parts[3], int(parts[1])) if len(parts) == 4 and parts[1].isdecimal() else ("", 0)


def _given(text: str | None) -> str:
    return text if text and text != "-" else ""
