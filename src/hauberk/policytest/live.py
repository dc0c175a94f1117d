"""Cases as calls that a real program makes, and what its sidecars did compared with what was predicted."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hauberk.api.request_authentication import RequestAuthentication
from hauberk.explain.explanation import Answer, Outcome
from hauberk.policytest.case import Case, Result
from hauberk.policytest.keys import TestKey
from hauberk.policytest.mesh import TestedMesh

_SECONDS: Final = 10.0  # until an answer is given up
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LiveResult:
    """What real sidecars did with a case; `skipped` says why it could not be sent."""

    case: Case
    predicted: str
    got: str = ""
    said: str = ""
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """As predicted, as far as it could be asked."""
        return bool(self.skipped) or self.got == self.predicted

    @property
    def fault(self) -> str:
        """How it differs."""
        return f"real sidecars: {self.got} ({self.said}), predicted: {self.predicted}"

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
        return {"got": self.got or None, "said": self.said or None, "skipped": self.skipped or None, "same": self.passed}


def obstacle(result: Result) -> str:
    """Why the case cannot be sent by a real program; empty if it can."""
    question, explanation = result.case.question, result.explanation
    if explanation is None:
        return "it could not be predicted"
    obstacles = {
        "a caller of another trust domain cannot be had in one mesh": bool(question.trust_domain),
        "a caller's address cannot be chosen": question.address is not None,
        "the server name of a handshake between sidecars cannot be chosen": question.sni is not None,
        "the workloads behind the service differ": explanation.differs,
        "it depends on something outside of the mesh": any(each.outcome is Outcome.UNKNOWN for each in explanation.answer.layers),
    }
    return next((why for why, stands in obstacles.items() if stands), "")


def call_of(result: Result, mesh: TestedMesh, where: tuple[str, int], key: TestKey, now: datetime) -> Json:
    """The call as the calling program takes it; `where` is host (or address) and port."""
    question, http = result.case.question, bool(result.explanation and result.explanation.route["http"])
    host, port = where
    if not http:
        return {"host": host, "port": port, "http": False, "bytes": base64.b64encode(b"hello\n").decode(), "timeout": _SECONDS}
    headers = [("host", question.host or _usual_host(case=result.case, host=host)), ("connection", "close")]
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


def live_result(result: Result, told: Mapping[str, Any]) -> LiveResult:
    """The outcome of a call, compared with the prediction."""
    assert result.explanation is not None
    return LiveResult(result.case, word_of(result.explanation.answer), heard(told), str(told.get("said", "")))


def word_of(answer: Answer) -> str:
    """The prediction in the words of a test."""
    return answer.word


def heard(told: Mapping[str, Any]) -> str:
    """The caller's answer in the words of a test."""
    if "error" in told or "status" not in told:
        return "deny"
    status = told["status"]
    if status is None or status < 400:
        return "allow"
    return {401: "unauthenticated"}.get(status, "deny")
