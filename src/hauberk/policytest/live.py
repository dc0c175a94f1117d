"""Cases as calls that a real program makes, and what its sidecars did compared with what was predicted."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hauberk.api.request_authentication import RequestAuthentication
from hauberk.explain.explain import UNKNOWN_ADDRESS
from hauberk.explain.explanation import Answer, Outcome
from hauberk.kit.digest import short_digest
from hauberk.policytest.case import Case, Result
from hauberk.policytest.keys import TestKey
from hauberk.policytest.mesh import TestedMesh

_SECONDS: Final = 10.0  # until an answer is given up
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveResult:
    """What real sidecars did with a case; `skipped` says why it could not be sent.

    `predicted_by` and `got_by` are the deciding rule and the verdict of dry-run policies, empty where no record tells of them.
    """

    case: Case
    predicted: str = ""
    got: str = ""
    said: str = ""
    predicted_by: str = ""
    got_by: str = ""
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """As predicted, as far as it could be asked."""
        return bool(self.skipped) or (self.got == self.predicted and (not self.got_by or self.got_by == self.predicted_by))

    @property
    def fault(self) -> str:
        """How it differs."""
        by = f" by {self.got_by}" if self.got_by else "", f" by {self.predicted_by}" if self.got_by else ""
        return f"real sidecars: {self.got}{by[0]} ({self.said}), predicted: {self.predicted}{by[1]}"

    def lines(self, *, colors: bool) -> Iterator[str]:
        """What a person has to know of it."""
        del colors
        if self.skipped:
            yield f"SKIP  {self.case.place}  {self.case.name}: {self.skipped}"
        elif not self.passed:
            yield f"DIFFERS  {self.case.place}  {self.case.name}"
            yield f"      {self.fault}"

    def to_json(self) -> Json:
        """In the shape of `-o json`."""
        return {
            "got": self.got or None,
            "said": self.said or None,
            "by": self.got_by or None,
            "skipped": self.skipped or None,
            "same": self.passed,
        }


def obstacle(result: Result) -> str:
    """Why the case cannot be sent by a real program; empty if it can."""
    question, explanation = result.case.question, result.explanation
    if explanation is None:
        return "it could not be predicted"
    obstacles = {
        "a caller of another trust domain cannot be had in one mesh": bool(question.trust_domain),
        "a caller's address cannot be chosen": question.address is not None,
        "the server name of a handshake between sidecars cannot be chosen": question.sni is not None,
        "policies ask about addresses, which are others in every mesh": UNKNOWN_ADDRESS in explanation.warnings,
        "the workloads behind the service differ": explanation.differs,
        "it depends on something outside of the mesh": any(each.outcome is Outcome.UNKNOWN for each in explanation.answer.layers),
    }
    return next((why for why, stands in obstacles.items() if stands), "")


def request_id(result: Result) -> str:
    """The name under which records know the request of a case."""
    return f"hauberk-test-{result.case.line}-{short_digest(result.case.place + result.case.name)}"


def call_of(result: Result, mesh: TestedMesh, where: tuple[str, int], key: TestKey, now: datetime) -> Json:
    """The call as the calling program takes it; `where` is host (or address) and port."""
    question, http = result.case.question, bool(result.explanation and result.explanation.route["http"])
    host, port = where
    if not http:
        return {"host": host, "port": port, "http": False, "bytes": base64.b64encode(b"hello\n").decode(), "timeout": _SECONDS}
    headers = [("host", question.host or _usual_host(case=result.case, host=host)), ("connection", "close")]
    headers += [] if question.header("x-request-id") else [("x-request-id", request_id(result))]
    headers += [(name, value) for name, values in question.headers.items() for value in values]
    if question.token is not None:
        headers.append(("authorization", f"Bearer {question.token}"))
    if question.claims is not None:
        token = key.token(question.claims, audience_of(mesh, question.claims), now)
        headers.append(("authorization", f"Bearer {token}"))
    head = f"{question.method or 'GET'} {question.path or '/'} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers)
    sent = base64.b64encode(f"{head}\r\n".encode("latin-1", "replace")).decode()
    return {"host": host, "port": port, "http": True, "bytes": sent, "timeout": _SECONDS}


def _usual_host(*, case: Case, host: str) -> str:
    return case.question.to.rpartition("/")[2].partition(":")[0] or host


def audience_of(mesh: TestedMesh, claims: Mapping[str, Any]) -> str | None:
    """The audience that tokens of the claims' issuer need, unless the claims name one."""
    if "aud" in claims:
        return None
    rules = (rule for each in mesh.manifest.objects if isinstance(each, RequestAuthentication) for rule in each.spec.jwt_rules)
    return next((rule.audiences[0] for rule in rules if rule.audiences and rule.issuer == claims.get("iss")), None)


def live_result(result: Result, told: Mapping[str, Any], record: Mapping[str, Any] | None) -> LiveResult:
    """The outcome of a call, compared with the prediction; `record` is that of the destination's sidecar, if there is one."""
    assert result.explanation is not None
    answer = result.explanation.answer
    return LiveResult(
        case=result.case,
        predicted=answer.word,
        got=heard(told),
        said=str(told.get("said", "")),
        predicted_by=_predicted_by(answer),
        got_by="" if record is None else _recorded_by(record.get("decision") or {}),
    )


def recorded(result: Result) -> bool:
    """A record will tell who decided: of a request that reaches the policies of a sidecar."""
    assert result.explanation is not None
    layers = {each.name: each.outcome for each in result.explanation.answer.layers}
    return bool(result.explanation.route.get("http")) and layers.get("authorization") in (Outcome.PASS, Outcome.DENY)


def _predicted_by(answer: Answer) -> str:
    tried = answer.dry_run
    dry = f"; dry run: {_rule(tried.verdict, tried.decider.policy, str(tried.decider.rule))}" if tried and tried.decider else ""
    dry = dry or (f"; dry run: {tried.verdict}" if tried else "")
    decider = answer.decider
    return (f"{decider.policy}, rule {decider.rule}" if decider else "no rule") + dry


def _recorded_by(decision: Mapping[str, Any]) -> str:
    tried = decision.get("dryRun")
    dry = f"; dry run: {_rule(str(tried.get('verdict')), tried.get('policy'), tried.get('rule'))}" if isinstance(tried, Mapping) else ""
    return (f"{decision['policy']}, rule {decision.get('rule')}" if decision.get("policy") else "no rule") + dry


def _rule(verdict: str, policy: str | None, rule: str | None) -> str:
    return f"{verdict} by {policy}, rule {rule}" if policy else verdict


def heard(told: Mapping[str, Any]) -> str:
    """The caller's answer in the words of a test."""
    if "error" in told or "status" not in told:
        return "deny"
    status = told["status"]
    if status is None or status < 400:
        return "allow"
    return {401: "unauthenticated"}.get(status, "deny")
