"""From the line a sidecar wrote to an access record. The keys are those of `translate/access_log.py`.

Done in two steps: `Decoder` finds what a record is stored and counted by, for every line as it comes;
`build_record` makes the whole record, for the few that somebody looks at.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hauberk.telemetry.decision import is_denied, read_decision, refused_by
from hauberk.telemetry.entry import Between, Entry
from hauberk.telemetry.layout import COUNTED, END_OF_HEAD, SEPARATOR, read_fields, read_head, separators
from hauberk.telemetry.record import AccessRecord, Party, Reporter, Tls
from hauberk.telemetry.secret import without_secrets

# W3C Trace Context: version, trace, span, flags. What a caller made up otherwise is not passed off as a trace.
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-.*")
_MOST_KNOWN = 10_000  # strangers of many addresses must not fill the memory
_SEPARATOR, _END_OF_HEAD = SEPARATOR.encode(), END_OF_HEAD.encode()
_ANSWERED = b"via_upstream"  # details of nearly all requests
_DIGITS = 16  # of microseconds since 1970, until 2286
_ABOUT_PARTIES = ("la", "c", "u", "w", "ch", "n", "pi")
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


class Decoder:
    """Reads what the sidecar of `owner` writes.

    Most lines are about the same few parties: who they are is found out once, and again after `forget`, when addresses have got
    other owners.
    """

    def __init__(self, owner: Owner, resolve: Resolve) -> None:
        self._owner = owner
        self._resolve = resolve
        self._known: dict[bytes, tuple[Between, int]] = {}

    def forget(self) -> None:
        """`resolve` may answer otherwise from now on."""
        self._known.clear()

    def decode(self, line: bytes) -> Entry:
        """What `line` is about; raises UndecodableLine."""
        try:
            return self._request(line) or self._connection(line)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise UndecodableLine(f"not a line of a sidecar: {exc}") from exc

    def _request(self, line: bytes) -> Entry | None:
        # As few steps as possible: what is done here is done for every request of this machine.
        head, found, rest = line.partition(_END_OF_HEAD)
        if not found:
            return None
        between, number = self._known.get(head) or self._learn(head)
        rest = without_secrets(rest)
        time, taken, status, details, request, _ = rest.split(_SEPARATOR, COUNTED)
        if rest.count(_SEPARATOR) != number or len(time) != _DIGITS:
            raise ValueError("not as many values or digits as it should have")
        denied = details != _ANSWERED and refused_by(details.decode("utf-8", "replace"))
        return Entry(between, int(time), denied, int(status) >= 500, int(taken or 0), request, rest)

    def _learn(self, head: bytes) -> tuple[Between, int]:
        """What that head says, and how many separators the rest of its lines has."""
        fields = read_head(head)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        known = self._known[head] = self._between(fields, head), separators(head)
        return known

    def _connection(self, line: bytes) -> Entry:
        fields = read_fields(line)
        if not all(isinstance(fields.get(key) or "", str) for key in _ABOUT_PARTIES) or len(fields["t"]) != _DIGITS:
            raise ValueError("a name or an address is no text, or a time is none")
        taken = int(duration_ms(fields) * 1000)
        return Entry(self._between(fields), int(fields["t"]), is_denied(fields), bool(fields.get("ut")), taken, b"", line)

    def _between(self, fields: dict[str, Any], head: bytes = b"") -> Between:
        source, destination = _parties(fields, self._owner, self._resolve)
        outbound, http = fields["d"] == "o", fields["k"] == "h"
        return Between(source=source, destination=destination, outbound=outbound, http=http, mutual=bool(fields.get("pi")), head=head)


def _parties(fields: dict[str, Any], owner: Owner, resolve: Resolve) -> tuple[Party, Party]:
    peer = fields.get("pi") or ""
    if fields["d"] == "o":
        source = Party(owner.identity, owner.pod, owner.namespace, owner.address)
        host = host_of(fields.get("u") or fields.get("la"))
        pod, namespace = _named(fields.get("w"), host) or resolve(host) or ("", "")
        service, port = _service_of_cluster(fields.get("c") or "")
        return source, Party(peer, pod, namespace, host, service, port or port_of(fields.get("la")))
    caller = fields.get("ch") or ""
    pod, namespace = resolve(caller) or ("", "")
    service, port = _service_of_name(fields.get("n"))
    address = owner.address or host_of(fields.get("la"))
    port = port or port_of(fields.get("la"))
    return Party(peer, pod, namespace, caller), Party(owner.identity, owner.pod, owner.namespace, address, service, port)


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
