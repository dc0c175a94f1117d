"""Mistakes in the rules of a RequestAuthentication that types alone do not show (S-J2 to S-J7, 2.24)."""

from __future__ import annotations

from collections.abc import Iterator, Set
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from hauberk.api.finding import Finding, Location
from hauberk.api.header_name import header_fault, is_of_mesh
from hauberk.api.jwks import jwks_faults
from hauberk.api.jwt_rule import JwtRule

MOST_RULES = 64
MOST_ENTRIES = 64  # of every list of a rule
LONGEST_TEXT = 2048
SHORTEST_TIMEOUT: Final = timedelta(milliseconds=1)
LONGEST_TIMEOUT: Final = timedelta(minutes=10)


def check_jwt_rules(at: Location, rules: tuple[JwtRule, ...]) -> Iterator[Finding]:
    """Mistakes of all rules of one object."""
    if len(rules) > MOST_RULES:
        yield Finding("HBK0307", at, f"{len(rules)} rules; at most {MOST_RULES} are allowed")
    seen: set[str] = set()
    read = {name for rule in rules for name in _read(rule)}
    for index, rule in enumerate(rules[:MOST_RULES]):
        here: Location = (*at, index)
        if rule.issuer and rule.issuer in seen:
            yield Finding("HBK0326", (*here, "issuer"), f"the issuer {rule.issuer!r:.200} has a rule already")
        seen.add(rule.issuer)
        yield from _check_keys(here, rule)
        yield from _check_texts(here, rule)
        yield from _check_locations(here, rule)
        yield from _check_outputs(here, rule, read)
        if not SHORTEST_TIMEOUT <= rule.timeout <= LONGEST_TIMEOUT:
            yield Finding("HBK0107", (*here, "timeout"), "the time for fetching keys must be between 1ms and 10m")


def _check_keys(at: Location, rule: JwtRule) -> Iterator[Finding]:
    if rule.jwks:
        yield from (Finding(code, (*at, "jwks"), message) for code, message in jwks_faults(rule.jwks))
    if rule.jwks_uri:
        yield from _check_uri((*at, "jwksUri"), rule.jwks_uri)
    if rule.jwks and rule.jwks_uri:
        yield Finding("HBK0202", (*at, "jwksUri"), "jwksUri has no effect beside jwks")
    if rule.issuer:
        if not rule.jwks and not rule.jwks_uri:
            # Its address is where the address of the keys is asked for.
            yield from _check_uri((*at, "issuer"), rule.issuer)
    elif not rule.jwks and not rule.jwks_uri:
        yield Finding("HBK0105", (*at, "issuer"), "issuer is required where neither jwks nor jwksUri says which keys are meant")
    else:
        yield Finding("HBK0325", at, "without issuer the iss of a token is not looked at")


def _check_uri(at: Location, text: str) -> Iterator[Finding]:
    fault, encrypted = _uri_fault(text)
    if fault:
        also = "; without jwks and jwksUri it must be an address" if at[-1] == "issuer" else ""
        yield Finding("HBK0110", at, f"{_shown(text)} is no address of keys: it {fault}{also}", "write https://HOST/PATH")
    elif not encrypted:
        yield Finding("HBK0323", at, f"{_shown(text)} is not encrypted")


def _uri_fault(text: str) -> tuple[str | None, bool]:
    """Why nothing can be fetched there, and whether it is fetched encrypted."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not well formed", False
    encrypted = parts.scheme == "https"
    if parts.scheme not in ("http", "https"):
        return "must begin with https://", encrypted
    if not host or port == 0 or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        return "is not well formed", encrypted
    if "@" in parts.netloc:
        return "may hold no user and no password", encrypted
    return ("may have no fragment" if parts.fragment else None), encrypted


def _check_texts(at: Location, rule: JwtRule) -> Iterator[Finding]:
    lists = {
        "audiences": rule.audiences,
        "fromParams": rule.from_params,
        "fromCookies": rule.from_cookies,
        "spaceDelimitedClaims": rule.space_delimited_claims,
    }
    for name, values in lists.items():
        if len(values) > MOST_ENTRIES:
            yield Finding("HBK0307", (*at, name), f"{len(values)} entries; at most {MOST_ENTRIES} are allowed")
        for index, value in enumerate(values):
            if not value:
                yield Finding("HBK0302", (*at, name, index), f"an empty entry of {name} means nothing")
            else:
                yield from _check_text((*at, name, index), value)
    for field, text in (("issuer", rule.issuer), ("jwksUri", rule.jwks_uri)):
        yield from _check_text((*at, field), text)


def _check_text(at: Location, value: str) -> Iterator[Finding]:
    if len(value) > LONGEST_TEXT:
        yield Finding("HBK0307", at, f"the text has {len(value):,} characters; at most {LONGEST_TEXT:,} are allowed")
    elif not value.isprintable():
        yield Finding("HBK0110", at, "the text holds a character that cannot be seen")


def _check_locations(at: Location, rule: JwtRule) -> Iterator[Finding]:
    if len(rule.from_headers) > MOST_ENTRIES:
        yield Finding("HBK0307", (*at, "fromHeaders"), f"{len(rule.from_headers)} entries; at most {MOST_ENTRIES} are allowed")
    for index, header in enumerate(rule.from_headers):
        here: Location = (*at, "fromHeaders", index)
        if fault := header_fault(header.name):
            yield Finding("HBK0110", (*here, "name"), f"{_shown(header.name)} is no name of a header: it {fault}")
        yield from _check_text((*here, "prefix"), header.prefix)


def _read(rule: JwtRule) -> Iterator[str]:
    """Headers in which a token may stand."""
    yield from (each.name.lower() for each in rule.from_headers)
    if rule.from_cookies:
        yield "cookie"
    if not rule.has_locations:
        yield "authorization"


def _check_outputs(at: Location, rule: JwtRule, read: Set[str]) -> Iterator[Finding]:
    if len(rule.output_claim_to_headers) > MOST_ENTRIES:
        message = f"{len(rule.output_claim_to_headers)} entries; at most {MOST_ENTRIES} are allowed"
        yield Finding("HBK0307", (*at, "outputClaimToHeaders"), message)
    written = [((*at, "outputPayloadToHeader"), rule.output_payload_to_header)] if rule.output_payload_to_header else []
    for index, each in enumerate(rule.output_claim_to_headers):
        here: Location = (*at, "outputClaimToHeaders", index)
        written.append(((*here, "header"), each.header))
        if not each.claim or not all(each.claim.split(".")):
            yield Finding("HBK0110", (*here, "claim"), f"{_shown(each.claim)} names no claim; of a claim inside another write a.b")
        yield from _check_text((*here, "claim"), each.claim)
    yield from _check_written(written, read)


def _check_written(headers: list[tuple[Location, str]], read: Set[str]) -> Iterator[Finding]:
    seen: set[str] = set()
    for at, name in headers:
        if fault := header_fault(name, plain=True):
            yield Finding("HBK0110", at, f"{_shown(name)} is no name of a header: it {fault}")
        elif is_of_mesh(name):
            yield Finding("HBK0110", at, f"{name} is written by the mesh itself", "take a name of your own, such as x-user")
        elif name.lower() in read:
            message = f"tokens are looked for in {name}; what is written there is first taken away from the caller, and the token with it"
            yield Finding("HBK0110", at, message, "take a name of your own, such as x-user")
        elif name.lower() in seen:
            yield Finding("HBK0112", at, f"the header {name} is written already")
        seen.add(name.lower())


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 200 else f"{text[:200]!r}…"
