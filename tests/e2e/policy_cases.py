"""Policies, callers and requests as they might be, near enough to each other that all outcomes happen."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from hauberk.api.authorization_policy import AuthorizationPolicy

ISSUER: Final = "https://id.example/realm"
IDENTITIES: Final = (
    "spiffe://cluster.local/ns/shop/sa/frontend",
    "spiffe://cluster.local/ns/shop/sa/front",
    "spiffe://cluster.local/ns/bank/sa/teller",
    "spiffe://cluster.local/ns/bank/sa/frontend",
    "spiffe://cluster.local/ns/shop/x/sa/frontend",
    None,
)
CLAIMS: Final[tuple[Mapping[str, Any] | None, ...]] = (
    None,
    {"sub": "anna", "aud": ["shop", "bank"], "groups": ["reader", "writer"], "scope": "read write"},
    {"sub": "bert", "aud": "shop", "groups": "reader", "azp": "app"},
    {"sub": "anna", "realm": {"roles": ["admin", 7]}, "level": 7, "groups": ["reader", 7, True]},
    {"groups": [], "scope": "", "realm": {"roles": "admin"}},
    {"sub": "anna/x", "groups": "", "azp": "", "level": True, "realm": "admin"},
)

_SOURCES: Final = {
    "principals": (
        "old.example/ns/shop/sa/frontend",
        "cluster.local/ns/shop/sa/frontend",
        "cluster.local/ns/shop/*",
        "cluster.local/ns/bank/sa/teller",
        "*/sa/frontend",
        "*",
        "*end",
    ),
    "namespaces": ("shop", "bank", "s*", "*op", "*", "sh*p"),
    "serviceAccounts": ("frontend", "shop/frontend", "bank/teller", "shop/front"),
    "trustDomains": ("cluster.local", "old.example", "*", "*.local", "clu*", "cl*al", "other"),
    "requestPrincipals": ("*", f"{ISSUER}/anna", f"{ISSUER}/*", "*/anna", "*na", "https*", f"{ISSUER}/an*", "*realm/bert", "anna"),
    "ipBlocks": ("10.244.0.0/16", "10.244.0.2", "10.244.0.3/32", "fd00:10:244::/64", "192.0.2.1", "::/0"),
    "remoteIpBlocks": ("10.244.0.0/24", "0.0.0.0/0", "fd00:10:244::3", "192.0.2.1", "198.51.100.0/24", "2001:db8::/32"),
}
_OPERATIONS: Final = {
    "hosts": ("web", "WEB.shop", "*.shop", "web*", "*", "web:80", "*:80", "a.shop:8*", "[::1]"),
    "methods": ("GET", "POST", "P*", "*T", "*", "get"),
    "paths": (
        *("/", "/a", "/a/*", "*/b", "/a/b", "*", "/a/{*}", "/a/{**}", "/{*}/b", "/{**}/b", "/a/{*}/{**}", "*b", "/A*"),
        *("/a;x", "/a%2Fb", "/a%7Cb", "/.*", "/a?x", "/(a)"),
    ),
    "ports": ("8080", "8081", "9000", "80"),
}
_CONDITIONS: Final = {
    "request.headers[x-tenant]": ("acme", "ac*", "*me", "*", "acme,umbrella", "a.me"),
    "request.headers[host]": ("web", "*.shop", "*"),
    "source.ip": _SOURCES["ipBlocks"],
    "remote.ip": _SOURCES["remoteIpBlocks"],
    "source.namespace": _SOURCES["namespaces"],
    "source.serviceAccount": _SOURCES["serviceAccounts"],
    "source.principal": _SOURCES["principals"],
    "source.trustDomain": _SOURCES["trustDomains"],
    "request.auth.principal": _SOURCES["requestPrincipals"],
    "request.auth.audiences": ("shop", "sh*", "bank", "*"),
    "request.auth.presenter": ("app", "*", "shop"),
    "request.auth.claims[groups]": ("reader", "read*", "*er", "*", "7"),
    "request.auth.claims[scope]": ("write", "read write", "*"),
    "request.auth.claims[realm][roles]": ("admin", "*"),
    "request.auth.claims[level]": ("7", "*", "true"),
    "request.auth.claims[sub]": ("anna", "a*"),
    "destination.ip": ("10.244.0.0/16", "fd00:10:244::/64", "10.244.0.2"),
    "destination.port": _OPERATIONS["ports"],
    "connection.sni": ("web.shop", "*.shop", "*", "web*"),
    "experimental.envoy.filters.http.nothing[k]": ("v", "[v]", "*"),
}


def _fields(pools: Mapping[str, tuple[str, ...]], most: int = 3) -> st.SearchStrategy[dict[str, list[str]]]:
    """One field or several, some of them in their negative form."""
    values = {name: st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique=True) for name, pool in pools.items()}
    one = st.sampled_from(sorted(pools)).flatmap(lambda name: st.tuples(st.sampled_from((name, _negative(name))), values[name]))
    return st.lists(one, min_size=1, max_size=most).map(dict)


def _negative(name: str) -> str:
    return f"not{name[0].upper()}{name[1:]}"


def _condition(keys: Iterable[str] = tuple(_CONDITIONS)) -> st.SearchStrategy[dict[str, Any]]:
    def of(key: str) -> st.SearchStrategy[dict[str, Any]]:
        values = st.lists(st.sampled_from(_CONDITIONS[key]), min_size=1, max_size=2, unique=True)
        form = st.sampled_from((("values",), ("values",), ("notValues",), ("values", "notValues")))
        return st.tuples(form, values, values).map(lambda drawn: {"key": key, **dict(zip(drawn[0], drawn[1:], strict=False))})

    return st.sampled_from(sorted(keys)).flatmap(of)


_RULE: Final = st.fixed_dictionaries(
    {},
    optional={
        "from": st.lists(_fields(_SOURCES).map(lambda fields: {"source": fields}), min_size=1, max_size=2),
        "to": st.lists(_fields(_OPERATIONS).map(lambda fields: {"operation": fields}), min_size=1, max_size=2),
        "when": st.lists(_condition(), min_size=1, max_size=2),
    },
)
# CUSTOM comes before tokens are verified, and may not ask about callers.
_CUSTOM_RULE: Final = st.fixed_dictionaries(
    {},
    optional={
        "from": st.lists(_fields({"ipBlocks": _SOURCES["ipBlocks"]}).map(lambda fields: {"source": fields}), min_size=1, max_size=2),
        "to": st.lists(_fields(_OPERATIONS).map(lambda fields: {"operation": fields}), min_size=1, max_size=2),
    },
)
# What is asked alone decides alone.
_SINGLE_RULE: Final = st.one_of(
    _fields(_SOURCES, 1).map(lambda fields: {"from": [{"source": fields}]}),
    _fields(_OPERATIONS, 1).map(lambda fields: {"to": [{"operation": fields}]}),
    _condition().map(lambda condition: {"when": [condition]}),
)
# Of such rules the translation makes trees.
_CROWDED: Final = {
    "principals": ("cluster.local/ns/shop/sa/frontend", "cluster.local/ns/bank/sa/teller", "cluster.local/ns/shop/sa/front", "*"),
    "namespaces": ("shop", "bank", "sh*"),
    "serviceAccounts": ("frontend", "bank/teller"),
}
_CROWDED_TO: Final = {
    "paths": ("/", "/a", "/a/*", "/a/b", "/b", "/a/b/*", "/A", "/x/*", "/x/b", "*/b"),
    "methods": ("GET", "POST", "PUT"),
    "hosts": ("web", "web.shop", "a.shop", "b.example"),
}
_CROWDED_WHEN: Final = ("request.headers[x-tenant]", "request.auth.claims[groups]", "connection.sni", "source.principal")
_CROWDED_RULE: Final = st.fixed_dictionaries(
    {},
    optional={
        "from": st.lists(_fields(_CROWDED).map(lambda fields: {"source": fields}), min_size=1, max_size=2),
        "to": st.lists(_fields(_CROWDED_TO).map(lambda fields: {"operation": fields}), min_size=1, max_size=3),
        "when": st.lists(_condition(_CROWDED_WHEN), min_size=1, max_size=1),
    },
)
_ACTIONS: Final = ("ALLOW", "ALLOW", "ALLOW", "ALLOW", "DENY", "DENY", "DENY", "AUDIT", "CUSTOM")


@st.composite
def policies(draw: st.DrawFn) -> tuple[AuthorizationPolicy, ...]:
    """Some policies that select one workload, of its own and of the root namespace, some of them on trial; sometimes a crowd of them."""
    kind = draw(st.integers(0, 4))
    if kind < 2:
        return tuple(_policy(draw, number, _SINGLE_RULE, 2) for number in range(draw(st.integers(1, 3))))
    if kind < 4:
        return tuple(_policy(draw, number, _RULE, 4) for number in range(draw(st.integers(1, 5))))
    return tuple(_policy(draw, number, _CROWDED_RULE, 6) for number in range(draw(st.integers(5, 12))))


def _policy(draw: st.DrawFn, number: int, rule: st.SearchStrategy[Any], most: int) -> AuthorizationPolicy:
    action = draw(st.sampled_from(_ACTIONS))
    dry_run = action in ("ALLOW", "DENY") and draw(st.integers(0, 3)) == 0
    document = {
        "metadata": {
            "name": f"p{number}",
            "namespace": draw(st.sampled_from(("shop", "shop", "istio-system"))),
            "annotations": {"istio.io/dry-run": "true"} if dry_run else {},
        },
        "spec": {
            "action": action,
            "rules": draw(st.lists(_CUSTOM_RULE if action == "CUSTOM" else rule, max_size=most)),
            # Nobody of that name is known: what would be asked about is denied.
            "provider": {"name": "nobody"} if action == "CUSTOM" else None,
        },
    }
    return AuthorizationPolicy.model_validate(document)


@dataclass(frozen=True)
class Case:
    """One request; `claims` is a place in CLAIMS."""

    identity: str | None
    ipv6: bool
    sni: str
    port: int
    method: str
    path: str
    host: str
    tenants: tuple[str, ...]
    claims: int
    forwarded: str

    def __str__(self) -> str:
        return json.dumps(self.__dict__)


_PIECES: Final = (
    "/",
    "/",
    "a",
    "b",
    "A",
    "..",
    ".",
    "%2e",
    "%2F",
    "%5c",
    "\\",
    "//",
    ";x",
    "%61",
    "%00",
    "%25",
    "%252e",
    "?q=/a/b",
    "|",
    "%7c",
    "..;",
)
_PATHS: Final = ("/", "/a", "/a/b", "/a/", "/a/b/b", "/b", "/a?x=/b", "/A", "/a/c/b", "/x/b?", "/a|b", "/a/%2e%2e/a/b", "/(a)", "/a/b?b#")


def cases(seed: int, count: int) -> list[Case]:
    """As many requests, the same for the same `seed`."""
    chance = random.Random(seed)
    return [_case(chance) for _ in range(count)]


def _case(chance: random.Random) -> Case:
    odd = chance.random() < 0.3
    path = "/" + "".join(chance.choices(_PIECES, k=chance.randint(1, 7))) if odd else chance.choice(_PATHS[:-1])
    return Case(
        identity=chance.choice(IDENTITIES),
        ipv6=chance.random() < 0.2,
        sni=chance.choice(("", "web.shop", "other")),
        port=chance.choice((8080, 8080, 8081)),
        method=chance.choice(("GET", "GET", "POST", "PUT")),
        path=path,
        host=chance.choice(("web", "WEB", "web:80", "web.shop", "web.shop.:8080", "a.shop", "A.Shop:80", "[::1]:80", "b.example", "web.")),
        tenants=chance.choice(((), (), ("acme",), ("acme", "umbrella"), ("",), ("umbrella",), ("axme",), ("acé",))),
        claims=chance.randrange(len(CLAIMS)),
        forwarded=chance.choice(("", "", "192.0.2.1", "198.51.100.7, 192.0.2.1", "2001:db8::7, 192.0.2.1, 203.0.113.9", "nobody")),
    )
