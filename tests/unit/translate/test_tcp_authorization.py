"""The expressions are run by a small evaluator; tests/e2e/test_dataplane_security.py runs them in Envoy."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.mesh.mesh_objects import policy

from hauberk.api.authorization_policy import AuthorizationPolicy
from hauberk.policy.trust_domains import TrustDomains
from hauberk.translate.tcp_authorization import NO_PEER, PEER, Connection, decision

WEB, DB = "spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/data/sa/db"


class Text(str):
    """CEL's string methods."""

    def matches(self, pattern: str) -> bool:
        return re.search(pattern, self) is not None

    def startsWith(self, prefix: str) -> bool:  # CEL's name
        return self.startswith(prefix)


def evaluate(expression: str, peer: str, port: int = 80) -> str:
    """What CEL would say: `a ? (b) : (c)`, `||`, `&&`, `!`, `==`, `in`, and methods of strings."""
    condition, mark, rest = _split(expression, " ? ")
    if mark:
        then, _, otherwise = _split(rest, " : ")
        return evaluate((then if _true(condition, peer, port) else otherwise)[1:-1], peer, port)
    return str(eval(expression))


def _split(expression: str, mark: str) -> tuple[str, str, str]:
    """Before and after the first `mark` that is in no parentheses."""
    depth, quoted = 0, False
    for index, character in enumerate(expression):
        quoted ^= character == "'"
        depth += (character == "(") - (character == ")") if not quoted else 0
        if expression.startswith(mark, index) and not depth and not quoted:
            return expression[:index], mark, expression[index + len(mark) :]
    return expression, "", ""


def _true(condition: str, peer: str, port: int) -> bool:
    python = condition.replace("||", " or ").replace("&&", " and ").replace("!(", " not (")
    python = python.replace(PEER, "peer").replace("destination.port", "port")
    return bool(eval(python, {"peer": Text(peer), "port": port}))


def decide(*policies: AuthorizationPolicy, peer: str = WEB, port: int | None = 80) -> str:
    return evaluate(decision(policies, Connection(port, PEER, TrustDomains())), peer, port or 80)


def sources(*accounts: str, **operation: Any) -> dict[str, Any]:
    rule: dict[str, Any] = {"from": [{"source": {"serviceAccounts": list(accounts)}}]}
    return rule | ({"to": [{"operation": operation}]} if operation else {})


def test_without_policies_everything_is_allowed() -> None:
    assert decide() == "allow|"


def test_an_allow_policy_denies_what_it_does_not_match_and_names_what_it_does() -> None:
    known = policy("known", "ALLOW", sources("db"), sources("web"))
    assert decide(known) == "allow|ns[shop]-policy[known]-rule[1]"
    assert decide(known, peer=DB) == "deny|"


def test_deny_is_asked_first() -> None:
    assert decide(policy("all", "ALLOW", {}), policy("not", "DENY", sources("web"))) == "deny|ns[shop]-policy[not]-rule[0]"
    assert decide(policy("all", "ALLOW", {}), policy("not", "DENY", sources("web")), peer=DB) == "allow|ns[shop]-policy[all]-rule[0]"


def test_a_policy_without_rules_allows_nobody() -> None:
    assert decide(policy("nothing", "ALLOW")) == "deny|"


def test_ports_are_decided_here_where_they_are_known_and_there_where_not() -> None:
    only = policy("p", "ALLOW", {"to": [{"operation": {"ports": ["81", "82"]}}]})
    assert [decide(only, port=port) for port in (81, 83)] == ["allow|ns[shop]-policy[p]-rule[0]", "deny|"]
    expression = decision([only], Connection(None, PEER, TrustDomains()))
    assert "destination.port in [81, 82]" in expression
    assert [evaluate(expression, WEB, port) for port in (81, 83)] == ["allow|ns[shop]-policy[p]-rule[0]", "deny|"]
    others = policy("p", "ALLOW", {"to": [{"operation": {"notPorts": ["81"]}}]})
    assert [decide(others, port=port) for port in (81, 83)] == ["deny|", "allow|ns[shop]-policy[p]-rule[0]"]


@pytest.mark.parametrize("operation", [{"methods": ["GET"]}, {"paths": ["/x"]}, {"hosts": ["h"]}, {"notMethods": ["GET"]}])
def test_what_only_http_knows_never_allows_and_always_denies(operation: dict[str, Any]) -> None:
    assert decide(policy("a", "ALLOW", sources("web", **operation))) == "deny|"
    assert decide(policy("d", "DENY", sources("web", **operation))) == "deny|ns[shop]-policy[d]-rule[0]"
    assert decide(policy("d", "DENY", sources("web", **operation, ports=["81"])), port=80) == "allow|"


def test_one_http_entry_drops_the_whole_allow_rule() -> None:
    rule = {"to": [{"operation": {"ports": ["80"]}}, {"operation": {"methods": ["GET"]}}]}
    assert decide(policy("a", "ALLOW", rule)) == "deny|"


def test_who_has_no_certificate_is_nobody() -> None:
    def plain(each: AuthorizationPolicy) -> str:
        return evaluate(decision([each], Connection(80, NO_PEER, TrustDomains())), "")

    anyone = {"from": [{"source": {"principals": ["*"]}}]}
    nobody = {"from": [{"source": {"notPrincipals": ["*"]}}]}
    assert plain(policy("a", "ALLOW", anyone)) == "deny|"
    assert plain(policy("a", "ALLOW", nobody)) == "allow|ns[shop]-policy[a]-rule[0]"
    assert plain(policy("a", "ALLOW", {"from": [{"source": {"namespaces": ["*"]}}]})) == "deny|"
    assert plain(policy("a", "ALLOW", {})) == "allow|ns[shop]-policy[a]-rule[0]"


def test_fields_of_a_source_are_and_and_sources_are_or() -> None:
    both = {"from": [{"source": {"namespaces": ["shop"], "notPrincipals": ["cluster.local/ns/shop/sa/web"]}}]}
    assert decide(policy("a", "ALLOW", both)) == "deny|"
    either = {"from": [*both["from"], {"source": {"namespaces": ["data", "shop"]}}]}
    assert decide(policy("a", "ALLOW", either)).startswith("allow|")


@given(st.text(min_size=1))
def test_no_text_of_a_user_ends_its_literal(value: str) -> None:
    rule = {"from": [{"source": {"principals": ["x/" + value]}}]}
    expression = decision([policy("a", "ALLOW", rule)], Connection(80, PEER, TrustDomains()))
    literals = re.findall(r"'((?:[-A-Za-z0-9_./:|\[\]]|\\U[0-9a-f]{8})*)'", expression)
    assert expression.count("'") == 2 * len(literals)
    assert "%" not in expression


@pytest.mark.parametrize("number", [1, 4, 5, 16, 17, 63, 512])
def test_the_first_rule_that_holds_decides_however_many_there_are(number: int) -> None:
    found = policy("many", "ALLOW", *(sources(f"a{index // 2}") for index in range(number)))
    for index in {0, number // 2, number - 1}:
        answer = decide(found, peer=f"spiffe://cluster.local/ns/shop/sa/a{index // 2}")
        assert answer == f"allow|ns[shop]-policy[many]-rule[{index // 2 * 2}]"
    assert decide(found, peer=DB) == "deny|"


def test_questions_do_not_stand_inside_one_another_deeper_than_envoy_reads() -> None:
    found = [policy(name, "ALLOW", *(sources(f"a{index}") for index in range(512))) for name in ("one", "two")]
    expression = decision(found, Connection(80, PEER, TrustDomains()))
    depths = list(accumulate((character == "(") - (character == ")") for character in expression))
    assert max(depths) <= 24  # of 32, each parenthesis and each question counted
