"""What is decided about connections. The expressions are run by a small evaluator; e2e tests run them in Envoy."""

from __future__ import annotations

import re
from ipaddress import ip_network
from itertools import accumulate
from typing import Any

import pytest
from envoy.extensions.filters.network.set_filter_state.v3 import set_filter_state_pb2
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.mesh.mesh_objects import policy
from tests.unit.translate.cel import connection, handshake

from hauberk.api.authorization_policy import DRY_RUN, Action, AuthorizationPolicy
from hauberk.api.metadata import ObjectKey
from hauberk.policy.attribute import Attribute, Kind
from hauberk.policy.identifier import RuleId
from hauberk.policy.normalize import normalize
from hauberk.policy.pattern import AddressPattern, Pattern, PortPattern, TextPattern
from hauberk.policy.rule import NormalPolicy, NormalRule, Question
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.access_log import AUDIT_STATE, DECISION_STATE, DRY_RUN_STATE
from hauberk.translate.connection_state import CLUSTER_STATE
from hauberk.translate.tcp_authorization import MUTUAL, PLAIN, build_decision, decided, encode_decisions
from hauberk.xds.resource import EXTENSION

WEB, DB = "spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/data/sa/db"
DOMAINS = TrustDomains()

Policy = AuthorizationPolicy | NormalPolicy


def built(*policies: Policy, mutual: bool = True) -> set_filter_state_pb2.Config:
    normal = [each if isinstance(each, NormalPolicy) else normalize(each, DOMAINS) for each in policies]
    return build_decision(normal, DOMAINS, mutual=mutual)


def kept(*policies: Policy, peer: str | None = WEB, **of: Any) -> dict[str, str]:
    """What is kept with a connection of `peer` (None: a plain one)."""
    return kept_by(built(*policies, mutual=peer is not None), peer=peer, **of)


def kept_by(config: set_filter_state_pb2.Config, *, peer: str | None = WEB, **of: Any) -> dict[str, str]:
    known = {
        "connection.requested_server_name": of.get("sni", ""),
        "destination.port": of.get("port", 80),
        "caller": of.get("caller", "10.0.0.7"),
        "called": of.get("called", "10.0.0.9"),
    }
    if peer is not None:
        known |= {"connection.uri_san_peer_certificate": peer, "kept": {"hauberk.peer-names": of.get("names", peer)}}
    return connection(config, known)


def decide(*policies: Policy, peer: str | None = WEB, **of: Any) -> str:
    return kept(*policies, peer=peer, **of)[DECISION_STATE]


def sources(*accounts: str, **operation: Any) -> dict[str, Any]:
    rule: dict[str, Any] = {"from": [{"source": {"serviceAccounts": list(accounts)}}]}
    return rule | ({"to": [{"operation": operation}]} if operation else {})


def asks(action: str, kind: Kind, *patterns: Pattern, negated: bool = False) -> NormalPolicy:
    """A policy with one rule of one question."""
    question = Question(Attribute(kind), patterns, negated, "spec", ())
    rule = NormalRule(RuleId("shop", "p", 0), (), (), (question,))
    return NormalPolicy(ObjectKey("AuthorizationPolicy", "shop", "p"), Action(action), False, None, (rule,))


def tried(name: str, action: str, *rules: dict[str, Any]) -> AuthorizationPolicy:
    made = policy(name, action, *rules)
    return made.model_copy(update={"metadata": made.metadata.model_copy(update={"annotations": {DRY_RUN: "true"}})})


def test_without_policies_everything_is_allowed() -> None:
    assert decide() == "allow|"


def test_without_policies_nothing_is_asked_of_plain_connections() -> None:
    assert built(mutual=False) == set_filter_state_pb2.Config()


def test_an_allow_policy_denies_what_it_does_not_match_and_names_what_it_does() -> None:
    known = policy("known", "ALLOW", sources("db"), sources("web"))
    assert decide(known) == "allow|ns[shop]-policy[known]-rule[1]"
    assert decide(known, peer=DB) == "deny|"


def test_deny_is_asked_first() -> None:
    assert decide(policy("all", "ALLOW", {}), policy("not", "DENY", sources("web"))) == "deny|ns[shop]-policy[not]-rule[0]"
    assert decide(policy("all", "ALLOW", {}), policy("not", "DENY", sources("web")), peer=DB) == "allow|ns[shop]-policy[all]-rule[0]"


def test_of_several_rules_the_first_by_name_decides() -> None:
    found = [policy("b", "ALLOW", sources("web")), policy("a", "ALLOW", *([sources("web")] * 11))]
    assert decide(*found) == "allow|ns[shop]-policy[a]-rule[0]"
    assert decide(*found, policy("ab", "DENY", sources("db"), sources("web"))) == "deny|ns[shop]-policy[ab]-rule[1]"


def test_a_policy_without_rules_allows_nobody() -> None:
    assert decide(policy("nothing", "ALLOW")) == "deny|"
    assert decide(policy("nothing", "ALLOW"), peer=None) == "deny|"


def test_who_has_several_names_is_refused_whatever_policy_says() -> None:
    assert decide(policy("all", "ALLOW", {}), names=f"{WEB},{DB}") == "deny|hauberk-several-identities"
    assert decide(names=f"{WEB},{DB}") == "deny|hauberk-several-identities"


def test_a_rule_may_ask_for_ports() -> None:
    only = policy("p", "ALLOW", {"to": [{"operation": {"ports": ["81", "8200", "443"]}}]})
    assert [decide(only, port=port) for port in (81, 443, 8200)] == ["allow|ns[shop]-policy[p]-rule[0]"] * 3
    assert [decide(only, port=port) for port in (80, 8, 8201)] == ["deny|"] * 3
    others = policy("p", "ALLOW", {"to": [{"operation": {"notPorts": ["81"]}}]})
    assert [decide(others, port=port) for port in (81, 83)] == ["deny|", "allow|ns[shop]-policy[p]-rule[0]"]


def test_many_ports_are_compared_as_numbers() -> None:
    many = built(asks("DENY", Kind.PORT, *(PortPattern(number) for number in range(1, 2000, 3))))
    # Ports with one, two, three and four digits, up to the last that is meant and beyond.
    numbers = [*range(1, 40), *range(80, 130), *range(980, 1030), *range(1980, 2020)]
    denied = [number for number in numbers if kept_by(many, port=number)[DECISION_STATE].startswith("deny|ns")]
    assert denied == [number for number in numbers if number % 3 == 1 and number < 2000]


@pytest.mark.parametrize("operation", [{"methods": ["GET"]}, {"paths": ["/x"]}, {"hosts": ["h"]}, {"notMethods": ["GET"]}])
def test_what_only_http_knows_never_allows_and_always_denies(operation: dict[str, Any]) -> None:
    assert decide(policy("a", "ALLOW", sources("web", **operation))) == "deny|"
    assert decide(policy("d", "DENY", sources("web", **operation))) == "deny|ns[shop]-policy[d]-rule[0]"
    assert decide(policy("d", "DENY", sources("web", **operation, ports=["81"])), port=80) == "allow|"


def test_one_http_entry_drops_the_whole_allow_rule() -> None:
    rule = {"to": [{"operation": {"ports": ["80"]}}, {"operation": {"methods": ["GET"]}}]}
    assert decide(policy("a", "ALLOW", rule)) == "deny|"


def test_who_has_no_certificate_is_nobody() -> None:
    anyone = {"from": [{"source": {"principals": ["*"]}}]}
    nobody = {"from": [{"source": {"notPrincipals": ["*"]}}]}
    assert decide(policy("a", "ALLOW", anyone), peer=None) == "deny|"
    assert decide(policy("a", "ALLOW", nobody), peer=None) == "allow|ns[shop]-policy[a]-rule[0]"
    assert decide(policy("a", "ALLOW", {"from": [{"source": {"namespaces": ["*"]}}]}), peer=None) == "deny|"
    assert decide(policy("a", "ALLOW", {}), peer=None) == "allow|ns[shop]-policy[a]-rule[0]"
    assert decide(policy("d", "DENY", {"from": [{"source": {"notPrincipals": [DB.removeprefix("spiffe://")]}}]}), peer=None).startswith(
        "deny|ns"
    )


def test_fields_of_a_source_are_and_and_sources_are_or() -> None:
    both = {"from": [{"source": {"namespaces": ["shop"], "notPrincipals": ["cluster.local/ns/shop/sa/web"]}}]}
    assert decide(policy("a", "ALLOW", both)) == "deny|"
    either = {"from": [*both["from"], {"source": {"namespaces": ["data", "shop"]}}]}
    assert decide(policy("a", "ALLOW", either)).startswith("allow|")


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.0.0.0/24", "10.0.0.7", "10.0.1.7"),
        ("10.0.0.7/32", "10.0.0.7", "10.0.0.8"),
        ("0.0.0.0/0", "203.0.113.9", "fd00::1"),
        ("::/0", "fd00::1", "10.0.0.7"),
        ("10.0.0.0/9", "10.127.255.255", "10.128.0.0"),
        ("fd00:10:244::/64", "fd00:10:244::7", "fd00:10:245::7"),
        ("fd00::7/128", "fd00::7", "fd00::8"),
    ],
)
@pytest.mark.parametrize("kind", [Kind.DIRECT_IP, Kind.REMOTE_IP, Kind.DESTINATION_IP])
def test_networks_are_asked_of_both_ends(kind: Kind, network: str, inside: str, outside: str) -> None:
    end = "called" if kind is Kind.DESTINATION_IP else "caller"
    found = asks("ALLOW", kind, AddressPattern(ip_network(network)))
    others = asks("ALLOW", kind, AddressPattern(ip_network(network)), negated=True)
    for peer in (WEB, None):
        assert [decide(found, peer=peer, **{end: each})[:5] for each in (inside, outside)] == ["allow", "deny|"]
        assert [decide(others, peer=peer, **{end: each})[:5] for each in (inside, outside)] == ["deny|", "allow"]


def test_a_thousand_networks_are_one_question() -> None:
    networks = [ip_network(f"10.{number // 256}.{number % 256}.0/{mask}", strict=False) for number in range(1000) for mask in (24, 26)]
    found = asks("ALLOW", Kind.DIRECT_IP, *map(AddressPattern, networks))
    assert decide(found, caller="10.3.231.70").startswith("allow|")
    assert decide(found, caller="10.3.232.1") == "deny|"


def test_networks_inside_of_others_of_the_other_family_are_written_as_envoy_does() -> None:
    config = built(asks("ALLOW", Kind.DIRECT_IP, AddressPattern(ip_network("::ffff:10.0.0.7/128"))))
    assert any("== b'::ffff:10.0.0.7/128'" in text for text in texts(config))


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (TextPattern("exact", "db.shop"), "db.shop", "db.shop2"),
        (TextPattern("prefix", "db."), "db.shop", "web.db."),
        (TextPattern("suffix", ".shop"), "db.shop", "db.shop.x"),
        (TextPattern("present", ""), "x", ""),
        (TextPattern("regex", ".*"), "x", ""),
        (TextPattern("exact", "DB.shop", ignore_case=True), "db.SHOP", "dbxshop"),
        (TextPattern("prefix", "Db.", ignore_case=True), "dB.x", "dbx"),
        (TextPattern("suffix", ".Shop", ignore_case=True), "a.sHOP", "ashop"),
    ],
)
def test_the_server_name_is_text_and_without_one_nothing_matches(pattern: TextPattern, matching: str, other: str) -> None:
    found, without = (asks("ALLOW", Kind.SNI, pattern, negated=negated) for negated in (False, True))
    assert [decide(found, sni=each)[:5] for each in (matching, other, "")] == ["allow", "deny|", "deny|"]
    assert [decide(without, sni=each)[:5] for each in (matching, other, "")] == ["deny|", "allow", "allow"]


def test_what_a_connection_does_not_have_matches_nothing() -> None:
    metadata = asks("ALLOW", Kind.METADATA, TextPattern("present", ""))
    assert decide(metadata) == "deny|"
    assert decide(asks("ALLOW", Kind.METADATA, TextPattern("present", ""), negated=True)).startswith("allow|")


def test_dry_run_tells_what_would_be_if_it_were_enforced_and_enforces_nothing() -> None:
    everyone, not_web = policy("everyone", "ALLOW", {}), tried("not-web", "DENY", sources("web"))
    found = kept(everyone, not_web)
    assert found[DECISION_STATE] == "allow|ns[shop]-policy[everyone]-rule[0]"
    assert found[DRY_RUN_STATE] == "deny|ns[shop]-policy[not-web]-rule[0]"
    assert kept(everyone, not_web, peer=DB)[DRY_RUN_STATE] == "allow|ns[shop]-policy[everyone]-rule[0]"
    assert DRY_RUN_STATE not in kept(everyone)


def test_an_allow_policy_in_dry_run_denies_nobody() -> None:
    found = kept(tried("only-db", "ALLOW", sources("db")))
    assert (found[DECISION_STATE], found[DRY_RUN_STATE]) == ("allow|", "deny|")
    plain = kept(tried("only-db", "ALLOW", sources("db")), peer=None)
    assert plain == {DRY_RUN_STATE: "deny|"}


def test_an_audit_policy_leaves_its_rule_and_decides_nothing() -> None:
    audit = policy("watch", "AUDIT", sources("db"), sources("web", methods=["GET"]))
    found = kept(audit)
    assert (found[DECISION_STATE], found[AUDIT_STATE]) == ("allow|", "ns[shop]-policy[watch]-rule[1]")
    assert AUDIT_STATE not in kept(audit, peer="spiffe://cluster.local/ns/shop/sa/other")
    assert CLUSTER_STATE not in kept(audit, peer=None)


def test_a_plain_connection_that_is_denied_is_led_nowhere() -> None:
    strict = policy("known", "ALLOW", sources("web"))
    assert kept(strict, peer=None)[CLUSTER_STATE] == "BlackHoleCluster"
    assert CLUSTER_STATE not in kept(policy("all", "ALLOW", {}), peer=None)


@given(st.text(min_size=1))
def test_no_text_of_a_user_ends_its_literal(value: str) -> None:
    rule = {"from": [{"source": {"principals": ["x/" + value]}}]}
    (question,) = [s.format_string.text_format_source.inline_string for s in handshake(built(policy("a", "ALLOW", rule)))][:1]
    literals = re.findall(r"'((?:[-A-Za-z0-9_./:|\[\]]|\\U[0-9a-f]{8})*)'", question)
    assert question.count("'") == 2 * len(literals)
    assert question.count("%") == 2


@pytest.mark.parametrize("number", [1, 4, 5, 16, 17, 63, 512])
def test_the_first_rule_that_holds_decides_however_many_there_are(number: int) -> None:
    found = policy("many", "ALLOW", *(sources(f"a{index // 2}") for index in range(number)))
    config = built(found)
    for index in {0, number // 2, number - 1}:
        ids = sorted(f"ns[shop]-policy[many]-rule[{each}]" for each in range(number) if each // 2 == index // 2)
        assert kept_by(config, peer=f"spiffe://cluster.local/ns/shop/sa/a{index // 2}")[DECISION_STATE] == f"allow|{ids[0]}"
    assert kept_by(config, peer=DB)[DECISION_STATE] == "deny|"


def texts(config: set_filter_state_pb2.Config) -> list[str]:
    return [state.format_string.text_format_source.inline_string for state in handshake(config)]


@pytest.mark.parametrize("negated", [False, True])
def test_ten_thousand_principals_are_one_question(negated: bool) -> None:
    names = [f"cluster.local/ns/shop-{number % 50}/sa/a-service-account-{number:05}" for number in range(10_000)]
    found = policy("many", "ALLOW", {"from": [{"source": {"notPrincipals" if negated else "principals": names}}]})
    config = built(found)
    assert max(map(len, texts(config))) < 100_000
    expected = ("deny|", "allow|ns[shop]-policy[many]-rule[0]")
    for index in (0, 1, 777, 5000, 9999):
        assert kept_by(config, peer=f"spiffe://{names[index]}")[DECISION_STATE] == expected[not negated]
    for other in (DB, f"spiffe://{names[0]}0", "spiffe://zzz"):
        assert kept_by(config, peer=other)[DECISION_STATE] == expected[negated]


def test_two_thousand_rules_of_long_names_are_within_what_envoy_reads() -> None:
    policies = [policy(name, "ALLOW", *(sources(f"{index:0>63}") for index in range(512))) for name in ("four", "one", "three", "two")]
    config = built(*policies)
    assert max(map(len, texts(config))) < 100_000
    last = kept_by(config, peer=f"spiffe://cluster.local/ns/shop/sa/{511:0>63}")
    assert last[DECISION_STATE] == "allow|ns[shop]-policy[four]-rule[511]"
    assert kept_by(config, peer=DB)[DECISION_STATE] == "deny|"


def test_questions_do_not_stand_inside_one_another_deeper_than_envoy_reads() -> None:
    found = [policy(name, "ALLOW", *(sources(f"a{index}") for index in range(512))) for name in ("one", "two")]
    for text in texts(built(*found)):
        depths = list(accumulate((character == "(") - (character == ")") for character in text))
        assert max(depths) <= 24  # of 32, each parenthesis and each question counted


def test_equal_policies_are_equal_bytes_in_whatever_order_they_come() -> None:
    found = [policy("a", "ALLOW", sources("web")), policy("b", "DENY", sources("db")), policy("c", "AUDIT", {})]
    forth, back = (encode_decisions(order, DOMAINS) for order in (found, found[::-1]))
    assert [each.encoded for each in forth] == [each.encoded for each in back]


def test_filters_and_what_they_are_told_have_the_same_names() -> None:
    assert [(each.type_url, each.name) for each in encode_decisions((), DOMAINS)] == [(EXTENSION, MUTUAL), (EXTENSION, PLAIN)]
    assert (decided(MUTUAL).name, decided(PLAIN).name) == (MUTUAL, PLAIN)


def test_a_sidecar_waits_for_what_decides() -> None:
    source = decided(MUTUAL).config_discovery
    assert not source.HasField("default_config")
    assert source.config_source.initial_fetch_timeout.ToSeconds() == 0


def longest(config: set_filter_state_pb2.Config) -> int:
    """Of the regular expressions."""
    asked = [found for text in texts(config) for found in re.findall(r"\.matches\('((?:[^'\\]|\\U[0-9a-f]{8})*)'\)", text)]
    return max((len(re.sub(r"\\U[0-9a-f]{8}", "x", each)) for each in asked), default=0)


@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_accounts_and_namespaces_of_any_length_are_asked_without_long_expressions(action: str) -> None:
    account, namespace = "a" * 200, "n" * 60
    long = policy("long", action, {"from": [{"source": {"serviceAccounts": [f"{namespace}/{account}"]}}]}, sources("web"))
    assert longest(built(long)) < 100
    inside, outside = ("allow", "deny|") if action == "ALLOW" else ("deny|", "allow")
    for peer, expected in (
        (f"spiffe://cluster.local/ns/{namespace}/sa/{account}", inside),
        (f"spiffe://cluster.local/ns/{namespace}/sa/{account}a", outside),
        (f"spiffe://cluster.local/ns/{namespace}n/sa/{account}", outside),
        (WEB, inside),
        (DB, outside),
    ):
        assert decide(long, peer=peer)[:5] == expected, peer


def test_an_identity_of_another_form_that_a_long_name_may_mean_is_let_in_by_nobody() -> None:
    account = "a" * 200
    odd = f"spiffe://cluster.local/vm/ns/shop/sa/{account}/more"
    meant = {"from": [{"source": {"serviceAccounts": [account]}}]}
    others = {"from": [{"source": {"notServiceAccounts": [account]}}]}
    assert [decide(policy("p", action, meant), peer=odd)[:5] for action in ("ALLOW", "DENY")] == ["deny|", "deny|"]
    assert [decide(policy("p", action, others), peer=odd)[:5] for action in ("ALLOW", "DENY")] == ["deny|", "deny|"]


PEERS = [
    *(
        WEB,
        DB,
        "spiffe://cluster.local/ns/shop/sa/webs",
        "spiffe://cluster.local/ns/shop/x/sa/web",
        "spiffe://cluster.local/ns/shop/sa/web/x",
    ),
    *(
        "spiffe://other/ns/shop/sa/web",
        "spiffe://cluster.local/vm/1",
        "spiffe://cluster.local/sa/web/ns/shop/y",
        "spiffe://cluster.local/ns/sa/sa/web",
        "spiffe://cluster.local/ns/ns/sa/web",
    ),
    *("spiffe://cluster.local/ns/shop", "spiffe://b", "spiffe://cluster.local/a/ns/data/sa/db"),
]
SOURCES: list[dict[str, list[str]]] = [
    *({"serviceAccounts": [each]} for each in ("web", "shop/web", "data/db", "sa/web", "ns/web")),
    *({"namespaces": [each]} for each in ("shop", "data", "sh*", "*op", "*a", "*", "sa", "ns")),
    *({"principals": [each]} for each in ("cluster.local/ns/shop/sa/web", "*/sa/web", "cluster.local/ns/shop*", "*", "*b", "other*")),
    *({"trustDomains": [each]} for each in ("cluster.local", "other", "*.local", "o*r", "*")),
]


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_identities_are_meant_as_the_normal_form_says(source: dict[str, list[str]]) -> None:
    found = policy("p", "ALLOW", {"from": [{"source": source}]})
    ((alternative,),) = [rule.sources for rule in normalize(found, DOMAINS).rules]
    for peer in PEERS:
        meant = any(pattern.matches(peer) for question in alternative for pattern in question.patterns if isinstance(pattern, TextPattern))
        assert decide(found, peer=peer).startswith("allow") is meant, peer


def test_what_a_connection_hands_on_is_told_apart() -> None:
    for state in handshake(built(policy("p", "ALLOW", sources("web")))):
        if state.object_key == DECISION_STATE:
            assert state.factory_key == "envoy.hashable_string"
            assert state.shared_with_upstream
