from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from tests.unit.translate.envoy_matcher import Matcher, Values, name_of

from hauberk.api.authorization_policy import AuthorizationPolicy
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
    for _ in range(150):
        domains = chance.choice([MESH, FEDERATED])
        rules = rules_of(*(random_rule(chance) for _ in range(chance.choice([1, 3, 8, 30, 60]))), domains=domains)
        port = chance.choice([None, 80])
        matcher = matcher_of(rules, domains, port)
        for _ in range(40):
            facts = random_facts(chance)
            if port in (None, facts.request.port):
                assert name_of(matcher, seen(facts)) == first(rules, facts), (facts, rules)
