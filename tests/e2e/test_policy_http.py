"""What two real Envoys make of AuthorizationPolicies on requests: every field, its opposite, the order of actions, and what is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from tests.e2e.envoy_rig import RigPod, rig
from tests.e2e.envoy_rig_mesh import CLIENT, VIP, Mesh, denied_by, mode, policy
from tests.e2e.envoy_rig_server import NAMESPACE

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.api.config_map import ConfigMap
from hauberk.translate.proxy import translate_own

NO_MATCH, NO_POLICY = "hauberk-no-allow-matched", "hauberk-no-allow-policy"
CLIENT_ID = CLIENT.removeprefix("spiffe://")
PERMISSIVE = mode("all", NAMESPACE, mtls={"mode": "PERMISSIVE"})


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rig() as made:
        yield Mesh(made)


def rule_of(name: str, index: int = 0) -> str:
    return f"ns[{NAMESPACE}]-policy[{name}]-rule[{index}]"


def source(**fields: Any) -> dict[str, Any]:
    return {"from": [{"source": fields}]}


def operation(**fields: Any) -> dict[str, Any]:
    return {"to": [{"operation": fields}]}


def when(key: str, *values: str, negated: bool = False) -> dict[str, Any]:
    return {"when": [{"key": key, "notValues" if negated else "values": list(values)}]}


def in_dry_run(found: AuthorizationPolicy) -> AuthorizationPolicy:
    metadata = found.metadata.model_copy(update={"annotations": {"istio.io/dry-run": "true"}})
    return found.model_copy(update={"metadata": metadata})


def asked(pod: RigPod, path: str = "/", **how: Any) -> int:
    return pod.request(how.pop("to", VIP), how.pop("port", 80), path, host=how.pop("host", "web"), **how).status


# -- every field -------------------------------------------------------------------------------------------------------


Asked = tuple[str, str, dict[str, Any]]  # a caller, a path and more


class Case(NamedTuple):
    """A rule, with requests that it matches and requests that it does not; a request is a caller, a path and more."""

    rule: dict[str, Any]
    yes: list[Asked]
    no: list[Asked]


C: Asked = ("client", "/", {})
O: Asked = ("other", "/", {})  # noqa: E741  # a caller each


def at(path: str, **how: Any) -> tuple[str, str, dict[str, Any]]:
    return "client", path, how


def header(value: str) -> tuple[str, str, dict[str, Any]]:
    return at("/", headers={"x-kind": value})


CASES = {
    "principals": Case(source(principals=[CLIENT_ID]), [C], [O]),
    "principals-prefix": Case(source(principals=["cluster.local/ns/shop/sa/cl*"]), [C], [O]),
    "principals-suffix": Case(source(principals=["*/client"]), [C], [O]),
    "principals-present": Case(source(principals=["*"]), [C, O], []),
    "not-principals": Case(source(notPrincipals=[CLIENT_ID]), [O], [C]),
    "namespaces": Case(source(namespaces=["shop"]), [C, O], []),
    "not-namespaces": Case(source(notNamespaces=["shop"]), [], [C, O]),
    "service-accounts": Case(source(serviceAccounts=["shop/client", "nobody"]), [C], [O]),
    "not-service-accounts": Case(source(notServiceAccounts=["client"]), [O], [C]),
    "trust-domains": Case(source(trustDomains=["cluster.local"]), [C], []),
    "not-trust-domains": Case(source(notTrustDomains=["cluster.local"]), [], [C]),
    "request-principals": Case(source(requestPrincipals=["*"]), [], [C]),
    "not-request-principals": Case(source(notRequestPrincipals=["*"]), [C], []),
    "several-fields": Case(source(namespaces=["shop"], notPrincipals=[CLIENT_ID]), [O], [C]),
    "methods": Case(operation(methods=["PUT", "D*"]), [at("/", method="PUT"), at("/", method="DELETE")], [C]),
    "not-methods": Case(operation(notMethods=["GET"]), [at("/", method="PUT")], [C]),
    "paths": Case(
        operation(paths=["/a", "/b*", "*.png"]), [at("/a"), at("/a?x"), at("/bc"), at("/i.png?y")], [C, at("/ab"), at("/x?/a.png")]
    ),
    "paths-template": Case(
        operation(paths=["/u/{*}/o", "/v/{**}"]), [at("/u/1/o"), at("/u/1/o?q"), at("/v/a/b")], [at("/u/1/2/o"), at("/u/1?x=/o"), at("/v")]
    ),
    "not-paths": Case(operation(notPaths=["/admin*"]), [at("/x")], [at("/admin/1"), at("/x/../admin"), at("/%61dmin")]),
    "hosts": Case(
        operation(hosts=["web", "*.shop"]),
        [C, at("/", host="WEB"), at("/", host="web.:80"), at("/", host="a.shop")],
        [at("/", host="webs")],
    ),
    "not-hosts": Case(operation(notHosts=["web"]), [at("/", host="web.shop")], [C, at("/", host="Web:80")]),
    "ports": Case(operation(ports=["8080"]), [C], [at("/", port=81)]),
    "not-ports": Case(operation(notPorts=["8080"]), [at("/", port=81)], [C]),
    "header": Case(when("request.headers[x-kind]", "a", "b*"), [header("a"), header("bc")], [header("A"), C]),
    "header-present": Case(when("request.headers[X-Kind]", "*"), [header("a"), header("")], [C]),
    "header-not": Case(when("request.headers[x-kind]", "a", negated=True), [header("b"), C], [header("a")]),
    "remote-ip": Case(when("remote.ip", "10.244.0.0/16"), [C], []),
    "namespace": Case(when("source.namespace", "sh*"), [C], []),
    "principal": Case(when("source.principal", CLIENT_ID), [C], [O]),
    "account": Case(when("source.serviceAccount", "shop/client"), [C], [O]),
    "destination-port": Case(when("destination.port", "8081"), [at("/", port=81)], [C]),
    "sni": Case(when("connection.sni", "outbound_.80_.*"), [C], [at("/", port=81)]),
    "claim": Case(when("request.auth.claims[groups]", "*"), [], [C]),
    "claim-not": Case(when("request.auth.claims[groups]", "w", negated=True), [C], []),
    "audiences": Case(when("request.auth.audiences", "a"), [], [C]),
    "metadata-not": Case(when("experimental.envoy.filters.network.x[y]", "[v]", negated=True), [C], []),
}


def _only(name: str, rule: dict[str, Any]) -> dict[str, Any]:
    return rule | {"when": [*rule.get("when", ()), {"key": "request.headers[x-case]", "values": [name]}]}


def test_every_field_means_what_it_says(mesh: Mesh) -> None:
    # All of them at once: each is asked for by its name in a header.
    with mesh.having(*(policy(name, "ALLOW", _only(name, case.rule)) for name, case in CASES.items())):
        different = [
            (name, who, path, how)
            for name, case in CASES.items()
            for expected, requests in ((200, case.yes), (403, case.no))
            for who, path, how in requests
            if asked(mesh.rig.pods[who], path, **{**how, "headers": {"x-case": name, **how.get("headers", {})}}) != expected
        ]
        assert not different


@pytest.mark.parametrize("key", ["source.ip", "destination.ip"])
def test_addresses_of_both_families_are_told_apart(mesh: Mesh, key: str) -> None:
    four, six = mesh.web.addresses
    blocks = [when(key, "10.244.0.0/16"), when(key, "fd00:10:244::/64"), when(key, "10.244.0.0/16", negated=True)]
    for rule, expected in zip(blocks, [(200, 403), (403, 200), (403, 200)], strict=True):
        with mesh.having(PERMISSIVE, policy("block", "ALLOW", rule)):
            assert (asked(mesh.outside, to=four, port=8080), asked(mesh.outside, to=six, port=8081)) == expected, rule


def test_a_caller_without_identity_is_none_and_has_none(mesh: Mesh) -> None:
    address = mesh.web.addresses[0]
    for rule, expected in (
        (source(principals=["*"]), 403),
        (source(notPrincipals=["*"]), 200),
        (source(namespaces=["*"]), 403),
        (source(notNamespaces=["shop"]), 200),
        (when("connection.sni", "*"), 403),
        (when("connection.sni", "*", negated=True), 200),
    ):
        with mesh.having(PERMISSIVE, policy("plain", "ALLOW", rule)):
            assert asked(mesh.outside, to=address, port=8080) == expected, rule


# -- order, names, records ---------------------------------------------------------------------------------------------


def test_deny_is_asked_before_allow_and_the_first_rule_by_name_is_named(mesh: Mesh) -> None:
    get = operation(methods=["GET"])
    with mesh.having(
        policy("b", "ALLOW", {}), policy("a", "ALLOW", get), policy("z", "DENY", operation(paths=["/z"]), operation(paths=["/z*"]))
    ):
        assert asked(mesh.client, "/z") == 403
        assert asked(mesh.client, "/zz") == 403
        assert asked(mesh.client, "/order") == 200
        assert asked(mesh.client, "/order-put", method="PUT") == 200
        assert denied_by(mesh.web.record(p="/z")) == rule_of("z")
        assert denied_by(mesh.web.record(p="/zz")) == rule_of("z", 1)
        assert mesh.web.record(p="/order")["q"] == rule_of("a")
        assert mesh.web.record(p="/order-put")["q"] == rule_of("b")


def test_what_no_rule_decides_has_a_name_too(mesh: Mesh) -> None:
    with mesh.having(policy("d", "DENY", operation(paths=["/d"]))):
        assert asked(mesh.client, "/no-policy") == 200
        assert mesh.web.record(p="/no-policy")["q"] == NO_POLICY
    with mesh.having(policy("nothing", "ALLOW")):
        assert asked(mesh.client, "/no-match") == 403
        assert denied_by(mesh.web.record(p="/no-match")) == NO_MATCH
    assert asked(mesh.client, "/nobody-asked") == 200
    assert not mesh.web.record(p="/nobody-asked").get("q")


def test_a_dry_run_is_recorded_and_never_enforced(mesh: Mesh) -> None:
    strict = in_dry_run(policy("strict", "DENY", operation(paths=["/dry*"])))
    only = in_dry_run(policy("only-other", "ALLOW", source(serviceAccounts=["other"])))
    with mesh.having(policy("all", "ALLOW", operation(methods=["GET"])), strict, only):
        assert asked(mesh.client, "/dry") == 200
        record = mesh.web.record(p="/dry")
        assert (record["q"], record["dr"], record["dp"]) == (rule_of("all"), "denied", rule_of("strict"))
        assert asked(mesh.other, "/wet", method="PUT") == 403
        record = mesh.web.record(p="/wet")
        assert (denied_by(record), record["dr"], record["dp"]) == (NO_MATCH, "allowed", rule_of("only-other"))


def test_audit_is_noted_of_what_is_allowed_and_of_what_is_denied(mesh: Mesh) -> None:
    audit = policy("watch", "AUDIT", operation(paths=["/audit*"]))
    with mesh.having(audit, policy("get", "ALLOW", operation(methods=["GET"]))):
        assert asked(mesh.client, "/audit/1") == 200
        assert asked(mesh.client, "/audit/2", method="PUT") == 403
        assert asked(mesh.client, "/unseen") == 200
        assert mesh.web.record(p="/audit/1")["ap"] == rule_of("watch")
        assert mesh.web.record(p="/audit/2")["ap"] == rule_of("watch")
        assert mesh.web.record(p="/unseen").get("ap") != rule_of("watch")
    with mesh.having(policy("watch", "AUDIT", source(principals=["*"]))):
        assert asked(mesh.client, "/audited-alone", method="PUT") == 200
        assert mesh.web.record(p="/audited-alone")["ap"] == rule_of("watch")


def test_an_ambiguous_path_is_refused_where_a_policy_asks_about_paths(mesh: Mesh) -> None:
    with mesh.having(policy("all", "ALLOW", operation(paths=["/*"]))):
        for path in ("/a%2fb", "/a;x", "/a%255c", "/a//b"):
            assert asked(mesh.client, path) == 403, path
        assert denied_by(mesh.web.record(p="/a;x")) == "hauberk-ambiguous-path"
        assert asked(mesh.client, "/fine?a=//%2f;") == 200


# -- size, change ------------------------------------------------------------------------------------------------------


def test_a_thousand_principals_and_twenty_paths_are_told_apart(mesh: Mesh) -> None:
    principals = [f"cluster.local/ns/shop/sa/sa-{number}" for number in range(999)] + [CLIENT_ID]
    many = source(principals=principals) | operation(paths=[f"/many/{number}" for number in range(20)])
    each = [policy(f"p{n:03}", "ALLOW", source(principals=[p]) | operation(paths=["/each"])) for n, p in enumerate(principals[700:])]
    with mesh.having(policy("many", "ALLOW", many), *each):
        for path, name in (("/many/7", "many"), ("/each", "p299")):
            assert asked(mesh.client, path) == 200
            assert mesh.web.record(p=path, s=200)["q"] == rule_of(name)
            assert asked(mesh.other, path) == 403
        assert asked(mesh.client, "/many/21") == 403


def test_a_deleted_policy_leaves_exactly_what_was_there_before(mesh: Mesh) -> None:
    def told() -> object:
        assert mesh.rig.snapshot is not None
        return translate_own(mesh.rig.snapshot, mesh.web.key)

    before = told()
    with mesh.having(policy("nothing", "ALLOW"), in_dry_run(policy("d", "DENY", {})), policy("watch", "AUDIT", {})):
        assert told() != before
        assert asked(mesh.client, "/deleted") == 403
    assert told() == before
    assert asked(mesh.client, "/deleted") == 200


def test_a_refusal_names_its_rule_only_where_the_mesh_is_asked_to(mesh: Mesh) -> None:
    name = "x-hauberk-denied-by"
    with mesh.having(policy("d", "DENY", operation(paths=["/told"]))):
        config = {"mesh": "hauberk: {denyReasonHeader: true}"}
        settings = ConfigMap.model_validate({"metadata": {"name": "istio", "namespace": "istio-system"}, "data": config})
        for objects, told in ((), None), ((settings,), f"rbac_access_denied_matched_policy[{rule_of('d')}]"):
            # By connections of their own: those that are open keep to what they began with.
            with mesh.having(PERMISSIVE, *objects):
                answer = mesh.outside.request(mesh.web.addresses[0], 8080, "/told", host="web")
                assert (answer.status, answer.headers.get(name)) == (403, told)
                assert name not in mesh.outside.request(mesh.web.addresses[0], 8080, "/other", host="web").headers
