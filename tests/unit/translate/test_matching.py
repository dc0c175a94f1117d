from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from tests.unit.translate.envoy_matcher import Matcher, Values, name_of

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.envoy.message import encode
from hauberk.policy.facts import Facts, observe
from hauberk.policy.matching import rule_matches
from hauberk.policy.normalize import normalize
from hauberk.policy.request import Peer, Request
from hauberk.policy.rule import NormalRule
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.matching import Place, outcome_matcher
from hauberk.translate.matching_clause import Outcome

MESH = TrustDomains("td", ("old.td",))
FEDERATED = TrustDomains("td", (), ("far.td",))
NOTHING = Outcome("nothing", False)


def rules_of(*rules: dict[str, Any], domains: TrustDomains = MESH, name: str = "p") -> list[NormalRule]:
    metadata = {"name": name, "namespace": "shop"}
    policy = AuthorizationPolicy.model_validate({"metadata": metadata, "spec": {"rules": list(rules)}})
    return list(normalize(policy, domains).rules)


def matcher_of(rules: Iterable[NormalRule], domains: TrustDomains = MESH, port: int | None = None) -> Matcher:
    return outcome_matcher([(rule, Outcome(str(rule.id), True)) for rule in rules], NOTHING, Place(domains, port))


def seen(facts: Facts) -> Values:
    """What Envoy finds of a request."""

    def value(kind: str, key: tuple[str, ...]) -> Any:
        request, peer = facts.request, facts.peer
        match kind:
            case "identity":
                return peer.identity
            case "direct_ip":
                return peer.address
            case "remote_ip":
                return peer.remote_address or peer.address
            case "destination_ip":
                return request.destination_ip
            case "port":
                return str(request.port)
            case "sni":
                return request.sni
            case "claim" | "request_principal":
                found: Any = request.claims
                for each in key[2:]:
                    found = found.get(each) if isinstance(found, dict) else None
                return found
            case "metadata":
                return facts.metadata(key)
            case _:
                return {":path": facts.path}.get(key[0], facts.header(key[0]))

    return value


def first(rules: Sequence[NormalRule], facts: Facts) -> str:
    return next((str(rule.id) for rule in rules if rule_matches(rule, facts)), NOTHING.name)


# --- worlds small enough that rules often match, overlap and miss

NAMES = ["a", "b", "c", "ab"]
IDENTITIES = [
    None,
    *(f"spiffe://{domain}/ns/{namespace}/sa/{name}" for domain in ("td", "old.td", "far.td") for namespace in "ab" for name in NAMES),
    "spiffe://td/x/ns/a/y",
    "spiffe://td/ns/a/x/sa/b/z",
    "spiffe://td/job",
]
PRINCIPALS = [f"td/ns/{namespace}/sa/{name}" for namespace in "ab" for name in NAMES] + ["*", "td/ns/a/*", "*/sa/b", "far.td/ns/a/sa/a"]
PATHS = ["/", "/a", "/a/b", "/a/*", "/a*", "*/b", "*", "/a/{*}/c", "/{**}/c", "/x/1", "/x/2", "/x/3", "/x*", "/a/b/c", "/a?b"]
SENT = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/x/1", "/x/12", "/x/3?q=/b", "/a?b", "/a/b?x=/c", "/q/c", "/x"]
METHODS = ["GET", "PUT", "POST", "HEAD", "G*", "*T", "*"]
HOSTS = ["web", "web.shop", "*.shop", "w*", "*", "web:80"]


def some(chance: random.Random, values: Sequence[str], most: int = 5) -> list[str]:
    return chance.sample(values, chance.randint(1, min(most, len(values))))


def random_clause(chance: random.Random, fields: dict[str, Sequence[str]]) -> dict[str, Any]:
    chosen = chance.sample(sorted(fields), chance.choice([1, 1, 1, 2, 3]))
    return {
        (f"not{name[0].upper()}{name[1:]}" if chance.random() < 0.25 else name): some(chance, fields[name], 12 if name == "paths" else 5)
        for name in chosen
    }


SOURCES: dict[str, Sequence[str]] = {
    "principals": PRINCIPALS,
    "namespaces": ["a", "b", "*", "a*"],
    "trustDomains": ["td", "far.td"],
    "ipBlocks": ["10.0.0.0/8", "10.0.0.1", "fd00::/8"],
    "requestPrincipals": ["iss/a", "iss/*", "*", "*/b"],
}
OPERATIONS: dict[str, Sequence[str]] = {"paths": PATHS, "methods": METHODS, "hosts": HOSTS, "ports": ["80", "81"]}
CONDITIONS: dict[str, Sequence[str]] = {
    "request.headers[x-h]": ["1", "2", "3", "4", "1*", "*2", "*"],
    "request.auth.claims[groups]": ["w", "r", "*", "w*"],
    "request.auth.audiences": ["one", "two"],
    "connection.sni": ["s.web", "*.web"],
    "source.serviceAccount": ["a", "b/b", "a/ab"],
    "remote.ip": ["10.0.0.2"],
    "destination.ip": ["10.9.0.0/16"],
    "experimental.envoy.filters.x[k]": ["v", "[v]"],
}


def random_rule(chance: random.Random) -> dict[str, Any]:
    rule: dict[str, Any] = {}
    if chance.random() < 0.7:
        rule["from"] = [{"source": random_clause(chance, SOURCES)} for _ in range(chance.choice([1, 1, 2, 9]))]
    if chance.random() < 0.7:
        rule["to"] = [{"operation": random_clause(chance, OPERATIONS)} for _ in range(chance.choice([1, 1, 2]))]
    if chance.random() < 0.3:
        key = chance.choice(sorted(CONDITIONS))
        rule["when"] = [{"key": key, "notValues" if chance.random() < 0.3 else "values": some(chance, CONDITIONS[key])}]
    return rule


def random_facts(chance: random.Random) -> Facts:
    request = Request(
        port=chance.choice([80, 81, 82]),
        method=chance.choice(["GET", "PUT", "POST", "PATCH"]),
        path=chance.choice(SENT),
        host=chance.choice(["web", "WEB.shop", "web.shop.:80", "web:80", "x"]),
        headers=chance.choice([{}, {"x-h": ("1",)}, {"x-h": ("1", "2")}, {"x-h": ("4",)}, {"x-h": ("",)}]),
        sni=chance.choice([None, "s.web"]),
        claims=chance.choice([None, {"iss": "iss", "sub": "a", "groups": ["w"]}, {"iss": "x", "sub": "b", "groups": "rw", "aud": ["two"]}]),
        metadata=chance.choice([{}, {"envoy.filters.x": {"k": "v"}}, {"envoy.filters.x": {"k": ["u", "v"]}}]),
        destination_ip=chance.choice(["10.9.0.1", "10.8.0.1"]),
    )
    identity = chance.choice(IDENTITIES)
    return observe(request, Peer(identity, chance.choice(["10.0.0.1", "fd00::1", "192.168.0.1"]), chance.choice([None, "10.0.0.2"])))


def test_the_first_rule_that_matches_is_found_whatever_tree_was_made() -> None:
    chance = random.Random(5)
    for _ in range(40):
        domains = chance.choice([MESH, FEDERATED])
        rules = rules_of(*(random_rule(chance) for _ in range(chance.choice([1, 3, 8, 30, 60]))), domains=domains)
        port = chance.choice([None, 80])
        matcher = matcher_of(rules, domains, port)
        for _ in range(40):
            facts = random_facts(chance)
            if port in (None, facts.request.port):
                assert name_of(matcher, seen(facts)) == first(rules, facts), (facts, rules)


# --- what trees look like


def policies_of(*rules: dict[str, Any]) -> list[NormalRule]:
    return [rule for number, each in enumerate(rules) for rule in rules_of(each, name=f"p{number:04}", domains=TrustDomains())]


def compiled(rules: Sequence[NormalRule]) -> Matcher:
    return matcher_of(rules, TrustDomains())


def longest(matcher: Matcher) -> int:
    """How many predicates and look-ups a request meets at most."""
    if matcher.WhichOneof("matcher_type") == "matcher_tree":
        tree = matcher.matcher_tree
        table = tree.exact_match_map if tree.WhichOneof("tree_type") == "exact_match_map" else tree.prefix_match_map
        here = 1 + max(map(_behind, table.map.values()))
    else:
        here = sum(1 + _behind(each.on_match) for each in matcher.matcher_list.matchers)
    return here + (_behind(matcher.on_no_match) if matcher.HasField("on_no_match") else 0)


def _behind(found: Matcher.OnMatch) -> int:
    return longest(found.matcher) if found.HasField("matcher") else 0


def nesting(message: Any) -> int:
    inner = [
        nesting(each)
        for field, value in message.ListFields()
        if field.message_type is not None
        for each in (value.values() if hasattr(value, "values") else value if hasattr(value, "append") else [value])
        if hasattr(each, "ListFields")
    ]
    return 1 + max(inner, default=0)


def source(*principals: str) -> dict[str, Any]:
    return {"from": [{"source": {"principals": list(principals)}}]}


def operation(*paths: str) -> dict[str, Any]:
    return {"to": [{"operation": {"paths": list(paths)}}]}


MANY = [f"cluster.local/ns/shop/sa/client-{number}" for number in range(200)]
PLACES = [f"/api/{number}" for number in range(20)]
ALTERNATING = [source(name) if number % 2 else operation(f"/x/{number}") for number, name in enumerate(MANY)]
LARGE = {
    "one rule of many principals and paths": [source(*MANY) | operation(*PLACES)],
    "one rule of many sources": [{"from": [{"source": {"principals": [name]}} for name in MANY]} | operation(*PLACES)],
    "many rules of a principal": [source(name) for name in MANY],
    "many rules of a principal and paths": [source(name) | operation(*PLACES) for name in MANY],
    "many rules of a path": [operation(f"/api/{number}/*") for number in range(200)],
    "many rules of a template": [operation(f"/api/{number}/{{*}}/x") for number in range(200)],
    "many rules of a header": [{"when": [{"key": "request.headers[x]", "values": [name]}]} for name in MANY],
}


@pytest.mark.parametrize("name", LARGE)
def test_a_request_meets_few_of_many_rules(name: str) -> None:
    assert longest(compiled(policies_of(*LARGE[name]))) <= 3


def test_rules_of_two_kinds_in_alternation_are_looked_up_in_blocks() -> None:
    assert longest(compiled(policies_of(*ALTERNATING[:128]))) < 64


@pytest.mark.parametrize("name", [*LARGE, "in alternation"])
def test_twice_the_rules_make_twice_the_configuration(name: str) -> None:
    rules = policies_of(*LARGE.get(name, ALTERNATING))
    if len(rules) > 1:
        half, whole = (len(encode(compiled(each))) for each in (rules[: len(rules) // 2], rules))
        assert whole < 2.5 * half


def test_equal_rules_make_equal_bytes() -> None:
    chance = random.Random(9)
    rules = [random_rule(chance) for _ in range(60)]
    assert encode(matcher_of(rules_of(*rules))) == encode(matcher_of(rules_of(*rules)))


def test_however_many_sets_stand_side_by_side_envoy_can_read_it() -> None:
    sets = [
        source(*MANY[number : number + 9]) if number % 2 else {"when": [{"key": f"request.headers[x{number}]", "values": MANY[:9]}]}
        for number in range(200)
    ]
    assert nesting(compiled(policies_of(*sets))) < 90


def test_a_namespace_is_a_prefix_for_identities_of_the_usual_form_and_means_the_others_too() -> None:
    rules = policies_of(*({"from": [{"source": {"namespaces": [f"n{number}"]}}]} for number in range(20)))
    matcher = compiled(rules)
    for identity in ("cluster.local/ns/n7/sa/x", "cluster.local/x/ns/n7/y", "cluster.local/ns/n77/sa/x", "cluster.local/job"):
        facts = observe(Request(port=80), Peer(f"spiffe://{identity}"))
        assert name_of(matcher, seen(facts)) == first(rules, facts)
    assert longest(matcher.on_no_match.matcher) == 1


def test_what_is_behind_a_rule_that_always_holds_is_left_out() -> None:
    rules = policies_of(source(MANY[0]), {}, source(MANY[1]))
    assert MANY[1] not in str(compiled(rules))
