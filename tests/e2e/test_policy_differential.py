"""The engine against a real Envoy that runs what is translated from the same policies: they agree on everything, or one of them is wrong.

HAUBERK_DIFFERENTIAL_SETS says how many sets of policies are tried, each with as many requests; by default so many that thousands of
pairs are compared, the same ones on every run. With it, other ones each time.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.e2e.envoy_rig import Rig, RigPod, eventually, rig
from tests.e2e.envoy_rig_mesh import service
from tests.e2e.envoy_rig_programs import http1, speaks_first
from tests.e2e.policy_caller import Caller
from tests.e2e.policy_cases import CLAIMS, IDENTITIES, ISSUER, Case, cases, policies

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.config_map import ConfigMap
from hauberk.api.request_authentication import RequestAuthentication
from hauberk.policy.claims import split_claims
from hauberk.policy.decision import Meshwide, build_ruleset
from hauberk.policy.facts import observe
from hauberk.policy.request import Peer, Request
from hauberk.policy.ruleset import Ruleset
from hauberk.policy.verdict import MALFORMED, NO_ALLOW_POLICY, NO_PROVIDER, Judgement, Verdict
from hauberk.telemetry.layout import read_fields
from hauberk.translate.external_authorization import BAD
from hauberk.translate.limits import Limits
from hauberk.translate.outbound import limits_of

_BY_HAND: Final = os.environ.get("HAUBERK_DIFFERENTIAL_SETS")
SETS: Final = int(_BY_HAND or 64)
REQUESTS: Final = 48
CONNECTIONS: Final = 8
TCP: Final = 9000
GREETING: Final = b"welcome\n"
HOPS: Final = 1
MESHES: Final = {
    "as it comes": "",
    "with everything else": f"""
        trustDomainAliases: [old.example]
        pathNormalization: {{normalization: DECODE_AND_MERGE_SLASHES}}
        defaultConfig: {{gatewayTopology: {{numTrustedProxies: {HOPS}}}}}
        hauberk: {{ambiguousPaths: ALLOW}}
    """,
}
# What records say where nothing was asked, or nothing found.
_NOTHING: Final = {"", "-", "hauberk-no-audit-matched", NO_ALLOW_POLICY}


@dataclass(frozen=True)
class Compared:
    """A request, the policies that it met, and what the engine says."""

    case: Case
    policies: tuple[AuthorizationPolicy, ...]
    verdict: Verdict

    def __str__(self) -> str:
        found = [
            {"name": each.metadata.name, "dry": each.dry_run, **each.spec.model_dump(by_alias=True, exclude_defaults=True)}
            for each in self.policies
        ]
        return f"{self.case}\n{json.dumps(found)}\n{json.dumps(self.verdict.to_json())}"


class Bench:
    """The sidecar, its callers, and what it must have recorded."""

    def __init__(self, made: Rig, web: RigPod, outside: RigPod, tokens: tuple[str | None, ...]) -> None:
        self.rig = made
        self.web = web
        self.outside = outside
        self.tokens = tokens
        self.callers = {each: Caller(outside, web, made.directory, made.authority, each) for each in IDENTITIES}
        self.expected: dict[str, Compared] = {}
        self.connected: dict[str, Compared] = {}
        self.compared = 0
        # Of a port that also has requests the kernel may make another one, since all connections lead to the sidecar's one port.
        self.ports = itertools.cycle(range(2000, 32000))

    def apply(self, chosen: tuple[AuthorizationPolicy, ...]) -> Ruleset:
        kept = {key: each for key, each in self.rig.objects.items() if key.kind != "AuthorizationPolicy"}
        self.rig.objects = kept | {each.key: each for each in chosen}
        self.rig.push()
        return build_ruleset(chosen, self.mesh)

    @property
    def limits(self) -> Limits:
        assert self.rig.snapshot is not None
        return limits_of(self.rig.snapshot)

    @property
    def mesh(self) -> Meshwide:
        return Meshwide(domains=self.limits.trust_domains, paths=self.limits.paths, providers=frozenset())

    def facts(self, case: Case) -> tuple[Request, Peer]:
        claims = CLAIMS[case.claims]
        request = Request(
            port=case.port,
            method=case.method,
            path=case.path,
            host=case.host,
            headers={"x-tenant": case.tenants} if case.tenants else {},
            sni=case.sni or None if case.identity else None,
            claims=split_claims({"iss": ISSUER, **claims}) if claims is not None else None,
            destination_ip=self.web.addresses[case.ipv6],
        )
        return request, self.peer(case)

    def peer(self, case: Case) -> Peer:
        """With what a trusted proxy says of the client, if one is trusted."""
        hops, named = self.limits.trusted_hops, [each.strip() for each in case.forwarded.split(",")]
        client = named[-1 - hops] if hops is not None and len(named) > hops and case.forwarded else None
        return Peer(case.identity, self.outside.addresses[case.ipv6], client)


def head(case: Case, number: str, token: str | None) -> bytes:
    lines = [f"{case.method} {case.path} HTTP/1.1", f"host: {case.host}", f"x-request-id: {number}", "content-length: 0"]
    lines += [f"x-tenant: {value}" for value in case.tenants]
    lines += [f"x-forwarded-for: {case.forwarded}"] if case.forwarded else []
    lines += [f"authorization: Bearer {token}"] if token else []
    return "\r\n".join((*lines, "", "")).encode()


@pytest.fixture(scope="module", params=MESHES)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    config = ConfigMap.model_validate({"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": MESHES[request.param]}})
    with rig() as made:
        ports = (("http", 8080), ("http-b", 8081), ("tcp", TCP))
        web, outside = made.pod("web", ports=ports), made.pod("outside", meshed=False)
        web.serve(8080, http1, "::")
        web.serve(8081, http1, "::")
        web.serve(TCP, speaks_first, "::")
        key = ec.generate_private_key(ec.SECP256R1())
        made.apply(service("web", ["10.96.0.1"], {80: ("http", 8080), 81: ("http-b", 8081), 90: ("tcp", TCP)}), believing(key), config)
        found = Bench(made, web, outside, tuple(token_of(key, claims) for claims in CLAIMS))
        yield found
        for caller in found.callers.values():
            caller.close()


def believing(key: ec.EllipticCurvePrivateKey) -> RequestAuthentication:
    numbers = key.public_key().public_numbers()
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "kid": "k",
        "x": _base64(numbers.x.to_bytes(32, "big")),
        "y": _base64(numbers.y.to_bytes(32, "big")),
    }
    rules = [{"issuer": ISSUER, "jwks": json.dumps({"keys": [jwk]}), "forwardOriginalToken": True}]
    return RequestAuthentication.model_validate({"metadata": {"name": "tokens", "namespace": "shop"}, "spec": {"jwtRules": rules}})


def token_of(key: ec.EllipticCurvePrivateKey, claims: Any) -> str | None:
    if claims is None:
        return None
    signed = ".".join(_base64(json.dumps(each).encode()) for each in ({"alg": "ES256", "kid": "k"}, {"iss": ISSUER, **claims}))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_COMMON: Final = settings(
    deadline=None,
    database=None,
    derandomize=_BY_HAND is None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@settings(_COMMON, max_examples=SETS)
@given(chosen=policies(), seed=st.integers(0, 2**32))
def test_requests_fare_as_the_engine_says(bench: Bench, chosen: tuple[AuthorizationPolicy, ...], seed: int) -> None:
    rules = bench.apply(chosen)
    for case in cases(seed, REQUESTS):
        number = f"{len(bench.expected)}"
        request, peer = bench.facts(case)
        facts = observe(request, peer, bench.mesh.paths.level)
        verdict = rules.verdict(facts)
        status, body = bench.callers[case.identity].request(
            case.port, head(case, number, bench.tokens[case.claims]), ipv6=case.ipv6, sni=case.sni
        )
        compared = Compared(case, chosen, verdict)
        assert status == (verdict.status or 200), str(compared)
        if status == 200:
            assert json.loads(body)["path"] == facts.path, str(compared)
        bench.compared += 1
        if status != 400:
            bench.expected[number] = compared


def test_the_rules_that_decide_are_those_that_the_engine_names(bench: Bench) -> None:
    seen = eventually(lambda: found if len(found := recorded(bench)) >= len(bench.expected) else {})
    differences = []
    for number, compared in bench.expected.items():
        wanted = names(compared.verdict)
        if wanted != seen[number]:
            differences.append(f"{wanted} {seen[number]}\n{compared}")
    assert not differences, f"{len(differences)} differ\n" + "\n".join(differences[:5])
    assert bench.compared >= 5000 / len(MESHES) or _BY_HAND


@settings(_COMMON, max_examples=max(SETS // 2, 1))
@given(chosen=policies(), seed=st.integers(0, 2**32))
def test_connections_fare_as_the_engine_says(bench: Bench, chosen: tuple[AuthorizationPolicy, ...], seed: int) -> None:
    rules = bench.apply(chosen)
    for case in cases(seed, CONNECTIONS):
        request = Request(
            port=TCP, http=False, sni=case.sni or None if case.identity else None, destination_ip=bench.web.addresses[case.ipv6]
        )
        verdict = rules.verdict(observe(request, replace(bench.peer(case), remote_address=None)))
        port = next(bench.ports)
        heard = greeting(bench.callers[case.identity], case, port)
        compared = Compared(case, chosen, verdict)
        assert (heard == GREETING) == verdict.allowed, f"{heard!r} {compared}"
        assert heard in (b"", GREETING)
        source = f"[{bench.outside.addresses[1]}]:{port}" if case.ipv6 else f"{bench.outside.addresses[0]}:{port}"
        bench.connected[source] = compared


def test_the_rules_that_decide_about_connections_are_those_that_the_engine_names(bench: Bench) -> None:
    eventually(lambda: bench.connected.keys() <= connected(bench).keys(), 5)
    seen = connected(bench)
    differences = []
    for source, compared in bench.connected.items():
        wanted = of_connection(compared.verdict)
        if wanted != seen[source]:
            differences.append(f"{wanted} {seen[source]}\n{compared}")
    assert not differences, f"{len(differences)} differ\n" + "\n".join(differences[:5])


def greeting(caller: Caller, case: Case, port: int) -> bytes:
    """What a server that speaks first says."""
    with caller.connect_bytes(TCP, port, ipv6=case.ipv6, sni=case.sni) as connection, suppress(ConnectionResetError, BrokenPipeError):
        # Who says nothing without TLS is waited for: it might be about to.
        connection.sendall(b"" if case.identity else b"no words of TLS")
        return connection.recv(len(GREETING))
    return b""


def recorded(bench: Bench) -> dict[str, tuple[str, ...]]:
    found = (read_fields(line) for line in lines(bench.web.directory / "access.log"))
    rows = [row for row in found if row.get("k") == "h" and row.get("r") in bench.expected]
    return {row["r"]: tuple(_known(row.get(key)) for key in ("q", "dp", "ap")) for row in rows}


def connected(bench: Bench) -> dict[str, tuple[str, ...]]:
    found = (read_fields(line) for line in lines(bench.web.directory / "access.log"))
    rows = [row for row in found if row.get("k") == "t" and row.get("e") == "TcpConnectionEnd" and row.get("ca") in bench.connected]
    return {row["ca"]: tuple(_decided(row.get(key)) for key in ("q", "dp", "ap")) for row in rows}


def of_connection(verdict: Verdict) -> tuple[str, ...]:
    """What the records say of a connection: outcome and rule, the same of what is tried, and the rule that audits."""
    audited = str(verdict.audited[0]) if verdict.audited else ""
    return _outcome(verdict.judgement), _outcome(verdict.dry_run), audited


def _decided(text: str | None) -> str:
    """Where there is no policy that could decide, nothing is recorded, or nobody's name."""
    return "" if text is None or text == "allow|" else text


def _outcome(judgement: Judgement | None) -> str:
    if judgement is None or judgement.name == NO_ALLOW_POLICY:
        return ""
    return f"{'allow' if judgement.allowed else 'deny'}|{judgement.rule or ''}"


def lines(log: Path) -> list[bytes]:
    return log.read_bytes().split(b"\n")[:-1] if log.exists() else []


def names(verdict: Verdict) -> tuple[str, ...]:
    audited = str(verdict.audited[0]) if verdict.audited else ""
    assert verdict.judgement.name != MALFORMED
    if verdict.judgement.name == NO_PROVIDER:
        # The filter that finds out comes before the others, which then say nothing.
        return f"{verdict.custom}{BAD}", "", ""
    return _known(verdict.judgement.name), _known(verdict.dry_run.name if verdict.dry_run else ""), audited


def _known(name: str | None) -> str:
    return "" if name is None or name in _NOTHING else name
