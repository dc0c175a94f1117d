"""What a line says that policy has decided."""

import pytest
from tests.unit.telemetry.lines import INBOUND, decoded, line

from hauberk.telemetry.decision import is_denied, read_decision, reason_of, rule_of
from hauberk.telemetry.layout import read_fields
from hauberk.telemetry.record import NO_RULE, Decision, Outcome, RuleName, Verdict

READERS = RuleName("shop/readers", "0")
NOBODY = "no ALLOW rule matched"


def decision(**changes: object) -> Decision:
    return read_decision(read_fields(line(INBOUND, **changes)))


def allow(rule: RuleName = NO_RULE, reason: str = "") -> Outcome:
    return Outcome(verdict=Verdict.ALLOW, rule=rule, reason=reason)


def deny(rule: RuleName = NO_RULE, reason: str = "") -> Outcome:
    return Outcome(verdict=Verdict.DENY, rule=rule, reason=reason)


@pytest.mark.parametrize(
    ("details", "outcome"),
    [
        ("rbac_access_denied_matched_policy[ns[shop]-policy[no-writes]-rule[2]]", deny(RuleName("shop/no-writes", "2"))),
        ("rbac_access_denied_matched_policy[none]", deny(reason=NOBODY)),
        ("rbac_access_denied_matched_policy[hauberk-no-allow-matched]", deny(reason=NOBODY)),
        ("rbac_access_denied_matched_policy[hauberk-ambiguous-path]", deny(reason="ambiguous path")),
        ("rbac_access_denied_matched_policy[hauberk-mutual-tls-required]", deny(reason="no mutual TLS")),
        ("rbac_access_denied_matched_policy[hauberk-revoked[identity]]", deny(reason="revoked identity")),
        ("rbac_access_denied_matched_policy[hauberk-revoked[certificate]]", deny(reason="revoked certificate")),
        ("rbac_access_denied_matched_policy[hauberk-several-identities]", deny(reason="several identities")),
        ("jwt_authn_access_denied{Jwt_is_expired}", deny(reason="token refused: Jwt is expired")),
        ("jwt_authn_access_denied", deny(reason="token refused")),
        ("ext_authz_denied", deny(reason="external authorization")),
        ("ext_authz_error", deny(reason="the external authorizer did not decide")),
        ("local_rate_limited", deny(reason="rate limit")),
        ("request_rate_limited", deny(reason="rate limit")),
    ],
)
def test_a_refusal_is_told_by_its_rule_or_in_words(details: str, outcome: Outcome) -> None:
    # What had allowed it before decided nothing.
    assert decision(s=403, x=details).outcome == outcome
    assert decoded(INBOUND, s=403, x=details).denied


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_what_the_program_refuses_is_no_denial(status: int) -> None:
    assert decision(s=status).outcome == allow(READERS)
    assert not decoded(INBOUND, s=status).denied


def test_who_asked_the_external_authorizer_is_named_where_it_refused() -> None:
    asked = "ns[shop]-policy[ask]-rule[1]"
    assert decision(s=403, x="ext_authz_denied", cp=asked).outcome == deny(RuleName("shop/ask", "1"), "external authorization")
    assert decision(cp=asked).outcome == allow(READERS)


def test_without_policies_nothing_had_to_be_decided() -> None:
    assert decision(q=None) == Decision(outcome=allow())
    assert decision(q="hauberk-no-allow-policy").outcome == allow(reason="no ALLOW policy")
    assert decision(q="hauberk-not-revoked").outcome == allow()


@pytest.mark.parametrize(
    ("result", "name", "outcome"),
    [
        ("denied", "ns[shop]-policy[try]-rule[0]", deny(RuleName("shop/try", "0"))),
        ("allowed", "ns[shop]-policy[try]-rule[0]", allow(RuleName("shop/try", "0"))),
        ("denied", "hauberk-no-allow-matched", deny(reason=NOBODY)),
        ("denied", "none", deny(reason=NOBODY)),
        ("allowed", "hauberk-no-allow-policy", allow(reason="no ALLOW policy")),
        (None, None, None),
    ],
)
def test_a_dry_run_is_told_beside_what_was_done(result: str | None, name: str | None, outcome: Outcome | None) -> None:
    made = decision(dr=result, dp=name)
    assert (made.outcome, made.dry_run) == (allow(READERS), outcome)


@pytest.mark.parametrize(
    ("name", "audit"), [("ns[shop]-policy[note]-rule[3]", (RuleName("shop/note", "3"),)), ("hauberk-no-audit", ()), (None, ())]
)
def test_an_audit_policy_that_matched_has_taken_note(name: str | None, audit: tuple[RuleName, ...]) -> None:
    assert decision(ap=name).audit == audit


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("deny|ns[shop]-policy[db]-rule[0]", deny(RuleName("shop/db", "0"))),
        ("deny|", deny(reason=NOBODY)),
        ("deny|hauberk-revoked[identity]", deny(reason="revoked identity")),
        ("allow|ns[shop]-policy[db]-rule[0]", allow(RuleName("shop/db", "0"))),
        ("allow|", allow()),
        (None, allow()),
    ],
)
def test_a_connections_decision_is_read_from_its_state(state: str | None, outcome: Outcome) -> None:
    assert decision(k="t", x=None, q=state).outcome == outcome


def test_a_connections_dry_run_and_audit_are_too() -> None:
    made = decision(k="t", x=None, q="allow|", dp="deny|ns[shop]-policy[try]-rule[0]", ap="ns[shop]-policy[note]-rule[1]")
    assert made == Decision(outcome=allow(), dry_run=deny(RuleName("shop/try", "0")), audit=(RuleName("shop/note", "1"),))
    assert decision(k="t", x=None, dp="allow|").dry_run == allow()


def test_what_only_the_listener_saw_was_refused_for_its_want_of_identity() -> None:
    assert decision(k="l", q=None, f="NR", x="filter_chain_not_found").outcome == deny(reason="no mutual TLS")
    assert decision(k="l", q=None, tf="TLS_error:|CERTIFICATE_VERIFY_FAILED").outcome == deny(reason="TLS handshake failed")
    assert not is_denied(read_fields(line(INBOUND, k="l", x=None, q=None)))


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("ns[shop]-policy[a]-rule[0]", ("shop/a", "0")),
        ("none", ("", "")),
        ("", ("", "")),
        ("hauberk-not-revoked", ("", "")),
        ("ns[shop]-policy[a.b-c]-rule[12]", ("shop/a.b-c", "12")),
    ],
)
def test_a_rules_name_leads_home(name: str, rule: tuple[str, str]) -> None:
    assert rule_of(name) == rule


def test_whatever_else_decides_is_told_by_its_name() -> None:
    assert reason_of("hauberk-unknown-provider") == "unknown provider"
    assert reason_of("somebody") == ""


def test_what_nobody_could_be_asked_about_is_told_so() -> None:
    name = "ns[shop]-policy[ask]-rule[1]-deny-due-to-bad-CUSTOM-action"
    denied = decision(s=403, x=f"rbac_access_denied_matched_policy[{name}]").outcome
    assert denied == deny(RuleName("shop/ask", "1"), "no external authorizer can be asked")


def test_a_limit_is_named_if_it_is_the_only_policy_that_limits() -> None:
    refused = {"s": 429, "f": "RL", "x": "local_rate_limited"}
    assert decision(**refused, rl="ns[shop]-policy[web]").outcome == deny(RuleName("shop/web"), "rate limit")
    assert decision(**refused, rl="hauberk-rate-limit").outcome == deny(RuleName(), "rate limit")
