"""What the name server says to one query, as a pure function of the query and the table."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from hauberk.agent.ipam import POD_RANGE_4, POD_RANGE_6
from hauberk.agent.name_table import ZONE, Address, Labels, NameTable

PLAIN_UDP_BYTES: Final = 512
EDNS_BYTES: Final = 1232  # what passes every link without fragments
SERVICE_RANGES: Final = (IPv4Network("10.96.0.0/16"), IPv6Network("fd00:10:96::/112"))
_OUR_RANGES: Final = (POD_RANGE_4, POD_RANGE_6, *SERVICE_RANGES)
_SOA: Final = "ns.dns.cluster.local. hostmaster.cluster.local. {serial} 7200 1800 86400 {ttl}"
_LOCALHOST: Final[tuple[Address, ...]] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_FAMILIES: Final = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}


class Unanswerable(Enum):
    """Queries that get no answer from the table."""

    FORWARD = "the name is not ours: the machine's resolvers know"
    SILENCE = "not a query at all: any answer could start a loop between two servers"


@dataclass(frozen=True, slots=True)
class Asking:
    """How answers are made: the table (None before the first one is known), seconds to live, and a number that rotates addresses."""

    table: NameTable | None
    ttl: int
    rotation: int = 0


def parse_query(wire: bytes) -> dns.message.Message | bytes | None:
    """The query; or the answer that says it is malformed; or nothing, where not even that can be said."""
    try:
        return dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        if len(wire) < 12 or wire[2] & 0x80:
            return None
        # Identifier kept, QR set, opcode and RD kept, FORMERR, no sections.
        return wire[:2] + bytes((0x80 | wire[2] & 0x79, dns.rcode.FORMERR)) + bytes(8)


def answer_query(query: dns.message.Message, asking: Asking) -> dns.message.Message | Unanswerable:
    """The answer from the table, or why it gives none."""
    if query.flags & dns.flags.QR:
        return Unanswerable.SILENCE
    refusal = _refusal(query)
    return _answer_question(query, asking) if refusal is None else answer_with(query, refusal)


def _refusal(query: dns.message.Message) -> dns.rcode.Rcode | None:
    if query.opcode() != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    if len(query.question) != 1:
        return dns.rcode.FORMERR
    return dns.rcode.REFUSED if query.question[0].rdclass != dns.rdataclass.IN else None


def _answer_question(query: dns.message.Message, asking: Asking) -> dns.message.Message | Unanswerable:
    name = query.question[0].name
    labels = _labels(name)
    if labels[-1:] == ("localhost",):
        return _answer_addresses(query, _LOCALHOST, asking)
    if name.is_subdomain(dns.reversename.ipv4_reverse_domain) or name.is_subdomain(dns.reversename.ipv6_reverse_domain):
        return _answer_reverse(query, asking)
    if labels[-len(ZONE) :] != ZONE:
        return Unanswerable.FORWARD
    if asking.table is None:
        # Not "does not exist": a program would remember that.
        return answer_with(query, dns.rcode.SERVFAIL)
    return _answer_addresses(query, asking.table.find(labels), asking)


def answer_with(query: dns.message.Message, code: dns.rcode.Rcode) -> dns.message.Message:
    """An answer without records."""
    answer = dns.message.make_response(query, recursion_available=True, our_payload=EDNS_BYTES)
    answer.set_rcode(code)
    return answer


def encode_answer(query: dns.message.Message, answer: dns.message.Message, *, udp: bool) -> bytes:
    """The answer's bytes; over UDP cut to what the asker can take, and then marked as cut, so that it asks again over TCP."""
    limit = 65535
    if udp:
        limit = min(max(query.payload, PLAIN_UDP_BYTES), EDNS_BYTES) if query.edns >= 0 else PLAIN_UDP_BYTES
    return answer.to_wire(max_size=limit, prefer_truncation=True)


def _answer_addresses(query: dns.message.Message, addresses: tuple[Address, ...] | None, asking: Asking) -> dns.message.Message:
    answer = answer_with(query, dns.rcode.NXDOMAIN if addresses is None else dns.rcode.NOERROR)
    answer.flags |= dns.flags.AA
    question = query.question[0]
    version = _FAMILIES.get(question.rdtype)
    fitting = [str(address) for address in addresses or () if address.version == version]
    if not fitting:
        answer.authority.append(_authority(asking))
        return answer
    # Each asker meets another address first: most programs use only the first.
    start = asking.rotation % len(fitting)
    answer.answer.append(dns.rrset.from_text_list(question.name, asking.ttl, "IN", question.rdtype, fitting[start:] + fitting[:start]))
    return answer


def _answer_reverse(query: dns.message.Message, asking: Asking) -> dns.message.Message | Unanswerable:
    address = _reverse_address(query.question[0].name)
    if address is None or not any(address.version == network.version and address in network for network in _OUR_RANGES):
        return Unanswerable.FORWARD
    if asking.table is None:
        return answer_with(query, dns.rcode.SERVFAIL)
    name = asking.table.name_of(address)
    if name is None or query.question[0].rdtype != dns.rdatatype.PTR:
        return _answer_addresses(query, None if name is None else (), asking)
    answer = answer_with(query, dns.rcode.NOERROR)
    answer.flags |= dns.flags.AA
    answer.answer.append(dns.rrset.from_text(query.question[0].name, asking.ttl, "IN", "PTR", ".".join(name) + "."))
    return answer


def _reverse_address(name: dns.name.Name) -> Address | None:
    try:
        text = dns.reversename.to_address(name)
    except (dns.exception.DNSException, ValueError):
        return None
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _authority(asking: Asking) -> dns.rrset.RRset:
    serial = asking.table.revision % 2**32 if asking.table else 0
    return dns.rrset.from_text("cluster.local.", asking.ttl, "IN", "SOA", _SOA.format(serial=serial, ttl=asking.ttl))


def _labels(name: dns.name.Name) -> Labels:
    return tuple(label.decode("ascii", "replace").lower() for label in name.labels if label)
