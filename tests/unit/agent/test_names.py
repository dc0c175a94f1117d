"""What the name server answers."""

from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from hauberk.agent.name_answers import Asking, Unanswerable, answer_query, encode_answer, parse_query
from hauberk.agent.name_table import NameTable, read_table
from hauberk.agent.name_upstream import Upstream, read_resolvers
from hauberk.agent.names import NameBook
from hauberk.agent.settings import AgentSettings

DOCUMENT: dict[str, Any] = {
    "revision": 7,
    "services": {
        "web.shop": {
            "addresses": ["10.96.0.3", "fd00:10:96::3"],
            "endpoints": [{"hostname": "", "addresses": ["10.244.0.9"]}],
            "headless": False,
        },
        "v4.shop": {"addresses": ["10.96.0.4"], "endpoints": [], "headless": False},
        "db.shop": {
            "addresses": [],
            "endpoints": [{"hostname": f"db-{n}", "addresses": [f"10.244.1.{n}", f"fd00:10:244::1:{n}"]} for n in range(40)],
            "headless": True,
        },
        "idle.shop": {"addresses": [], "endpoints": [], "headless": True},
    },
}
TABLE = read_table(DOCUMENT)
SUFFIX = "svc.cluster.local"


def ask(name: str, kind: str = "A", table: NameTable | None = TABLE, rotation: int = 0) -> dns.message.Message | Unanswerable:
    return answer_query(dns.message.make_query(name, kind), Asking(table, ttl=5, rotation=rotation))


def answer(name: str, kind: str = "A", rotation: int = 0) -> tuple[str, list[str]]:
    found = ask(name, kind, rotation=rotation)
    assert isinstance(found, dns.message.Message)
    return dns.rcode.to_text(found.rcode()), [record.to_text() for rrset in found.answer for record in rrset]


def test_a_service_is_its_address() -> None:
    assert answer(f"web.shop.{SUFFIX}") == ("NOERROR", ["10.96.0.3"])
    assert answer(f"web.shop.{SUFFIX}", "AAAA") == ("NOERROR", ["fd00:10:96::3"])


def test_names_are_the_same_in_any_case() -> None:
    assert answer(f"WEB.Shop.{SUFFIX}") == ("NOERROR", ["10.96.0.3"])


@pytest.mark.parametrize(("name", "kind"), [("v4.shop", "AAAA"), ("web.shop", "MX"), ("idle.shop", "A"), ("shop", "A")])
def test_a_name_without_such_a_record_exists_and_is_empty(name: str, kind: str) -> None:
    assert answer(f"{name}.{SUFFIX}", kind) == ("NOERROR", [])


@pytest.mark.parametrize("name", ["nope.shop", "web.elsewhere", "elsewhere", "x.web.shop"])
def test_a_name_that_does_not_exist_is_denied_at_once_and_for_how_long(name: str) -> None:
    found = ask(f"{name}.{SUFFIX}")
    assert isinstance(found, dns.message.Message)
    assert found.rcode() == dns.rcode.NXDOMAIN
    assert found.authority[0].rdtype == dns.rdatatype.SOA


def test_a_headless_service_is_its_pods_in_turn() -> None:
    code, first = answer(f"db.shop.{SUFFIX}")
    _, second = answer(f"db.shop.{SUFFIX}", rotation=1)
    assert (code, len(first)) == ("NOERROR", 40)
    assert second == first[1:] + first[:1]


def test_a_pod_of_a_headless_service_has_a_name_of_its_own() -> None:
    assert answer(f"db-3.db.shop.{SUFFIX}") == ("NOERROR", ["10.244.1.3"])


def test_an_address_leads_back_to_its_name() -> None:
    assert answer("3.0.96.10.in-addr.arpa", "PTR") == ("NOERROR", [f"web.shop.{SUFFIX}."])
    assert answer("3.1.244.10.in-addr.arpa", "PTR") == ("NOERROR", [f"db-3.db.shop.{SUFFIX}."])
    assert answer("99.1.244.10.in-addr.arpa", "PTR")[0] == "NXDOMAIN"


@pytest.mark.parametrize(("name", "kind"), [("example.com", "A"), ("web", "A"), ("1.2.0.192.in-addr.arpa", "PTR")])
def test_what_is_not_the_meshs_is_for_the_machines_resolvers(name: str, kind: str) -> None:
    assert ask(name, kind) is Unanswerable.FORWARD


def test_before_the_first_table_nothing_is_denied() -> None:
    found = ask(f"web.shop.{SUFFIX}", table=None)
    assert isinstance(found, dns.message.Message)
    assert found.rcode() == dns.rcode.SERVFAIL


def test_a_long_answer_is_cut_for_udp_and_whole_for_tcp() -> None:
    query = dns.message.make_query(f"db.shop.{SUFFIX}", "A")
    found = answer_query(query, Asking(TABLE, 5))
    assert isinstance(found, dns.message.Message)
    cut = dns.message.from_wire(encode_answer(query, found, udp=True))
    whole = dns.message.from_wire(encode_answer(query, found, udp=False))
    assert cut.flags & dns.flags.TC
    assert len(cut.to_wire()) <= 512
    assert len(whole.answer[0]) == 40


def test_an_asker_that_can_take_more_gets_more() -> None:
    query = dns.message.make_query(f"db.shop.{SUFFIX}", "A", use_edns=0, payload=4096)
    found = answer_query(query, Asking(TABLE, 5))
    assert isinstance(found, dns.message.Message)
    assert not dns.message.from_wire(encode_answer(query, found, udp=True)).flags & dns.flags.TC


def test_an_answer_is_never_answered() -> None:
    query = dns.message.make_response(dns.message.make_query("web", "A"))
    assert answer_query(query, Asking(TABLE, 5)) is Unanswerable.SILENCE


@pytest.mark.parametrize("wire", [b"", b"\0" * 5, b"\x12\x34\x81" + b"\0" * 20])
def test_what_is_no_query_gets_no_answer(wire: bytes) -> None:
    assert parse_query(wire) is None


def test_a_broken_query_is_told_so() -> None:
    reply = parse_query(b"\x12\x34\x01\x00\x00\x01" + b"\0" * 6 + b"\xff")
    assert isinstance(reply, bytes)
    assert (reply[:2], reply[3] & 0x0F) == (b"\x12\x34", dns.rcode.FORMERR)


@pytest.fixture
def book(tmp_path: Path) -> NameBook:
    return NameBook(tmp_path / "names.json", Upstream(tmp_path / "resolv.conf", 0.1), AgentSettings())


def test_the_table_outlives_the_agent(book: NameBook, tmp_path: Path) -> None:
    assert book.table is None
    book.learn(DOCUMENT)
    assert NameBook(tmp_path / "names.json", Upstream(tmp_path / "none", 0.1), AgentSettings()).table == TABLE


async def test_without_resolvers_other_names_do_not_exist(book: NameBook) -> None:
    reply = await book.forward(dns.message.make_query("example.com", "A").to_wire(), udp=True)
    assert reply is not None
    assert dns.message.from_wire(reply).rcode() == dns.rcode.NXDOMAIN


async def test_silent_resolvers_are_a_failure_that_may_pass(book: NameBook, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    book._upstream._port = 1  # nothing listens there
    reply = await book.forward(dns.message.make_query("example.com", "A").to_wire(), udp=True)
    assert reply is not None
    assert dns.message.from_wire(reply).rcode() == dns.rcode.SERVFAIL


def test_the_first_three_good_lines_of_resolv_conf_count() -> None:
    text = (
        "# x\nnameserver 192.0.2.1\nsearch a\nnameserver nonsense\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\nnameserver 192.0.2.4\n"
    )
    assert read_resolvers(text) == ("192.0.2.1", "fe80::1%eth0", "2001:db8::1")


def test_names_are_answered_that_could_not_be_remembered(tmp_path: Path) -> None:
    book = NameBook(tmp_path / "no such directory" / "names.json", Upstream(tmp_path / "resolv.conf", 1.0), AgentSettings())
    book.learn(DOCUMENT)
    assert isinstance(book.answer_now(dns.message.make_query(f"web.shop.{SUFFIX}", "A").to_wire(), udp=True), bytes)
