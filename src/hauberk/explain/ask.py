"""Questions as documents, the form in which the API and policy tests put them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hauberk.explain.question import Question, Unanswerable

_TEXTS = {
    "from": "source",
    "fromTrustDomain": "trust_domain",
    "to": "to",
    "namespace": "namespace",
    "method": "method",
    "path": "path",
    "host": "host",
    "fromAddress": "address",
    "sni": "sni",
    "token": "token",
}
FIELDS = frozenset({*_TEXTS, "labels", "port", "headers", "claims"})


def read_question(document: Mapping[str, Any]) -> Question:
    """The question that the document puts; Unanswerable says which field is wrong."""
    for name in document:
        if name not in FIELDS:
            raise Unanswerable(f"{name}: there is no such field", f"known are {', '.join(sorted(FIELDS))}")
    given: dict[str, Any] = {attribute: _text(document, name) for name, attribute in _TEXTS.items() if document.get(name) is not None}
    if (port := document.get("port")) is not None:
        given["port"] = _port(port)
    if (labels := document.get("labels")) is not None:
        given["labels"] = _texts(labels, "labels")
    if (claims := document.get("claims")) is not None:
        if not isinstance(claims, Mapping):
            raise Unanswerable("claims: must be a mapping", "write the payload of the token, such as {iss: …, sub: …}")
        given["claims"] = claims
    return Question(**given, headers=read_headers(document.get("headers") or {}))


def read_headers(given: Any) -> Mapping[str, tuple[str, ...]]:
    """Headers by lower-case name; a list is a header that is sent several times."""
    if not isinstance(given, Mapping):
        raise Unanswerable("headers: must be a mapping", "write NAME: VALUE")
    found: dict[str, tuple[str, ...]] = {}
    for name, value in given.items():
        values = value if isinstance(value, list | tuple) else [value]
        if not isinstance(name, str) or not name or not all(isinstance(each, str) for each in values):
            raise Unanswerable(f"headers: {name} must be a text or a list of texts", "put numbers and true and false in quotes")
        found[name.lower()] = (*found.get(name.lower(), ()), *values)
    return found


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document[name]
    if not isinstance(value, str):
        raise Unanswerable(f"{name}: must be a text", "put it in quotes")
    return value


def _port(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise Unanswerable(f"port: {value!r} is no port number; ports go from 1 to 65535")
    return value


def _texts(value: Any, name: str) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise Unanswerable(f"{name}: must be a mapping of texts", "write KEY: VALUE, with numbers in quotes")
    return dict(value)
