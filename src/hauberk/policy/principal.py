"""Requests' principals and paths as policies write them (S-A6, S-A8)."""

from __future__ import annotations

from hauberk.api.path_template import ANY, ONE, is_path_template
from hauberk.policy.pattern import RequestPrincipalPattern, TextPattern, parse_text, quote

_PRESENT = TextPattern("present", "")


def request_principal_pattern(value: str) -> RequestPrincipalPattern:
    """ISSUER/SUBJECT, split at the last slash since an issuer is often a URL; what has no slash is one star and one of the two."""
    issuer, slash, subject = value.rpartition("/")
    if slash:
        return RequestPrincipalPattern(parse_text(issuer), parse_text(subject))
    if value == "*":
        return RequestPrincipalPattern(_PRESENT, _PRESENT)
    if value.startswith("*"):
        return RequestPrincipalPattern(_PRESENT, parse_text(value))
    if value.endswith("*"):
        return RequestPrincipalPattern(parse_text(value), _PRESENT)
    return RequestPrincipalPattern(parse_text(value), TextPattern("exact", ""))  # no token has an empty subject


def path_pattern(value: str) -> TextPattern:
    """A path, or a template: `{*}` is one segment, `{**}` any number of them, also none. No part of one is a query."""
    if not is_path_template(value):
        return parse_text(value)
    return TextPattern("regex", "/".join(map(_segment, value.split("/"))))


def _segment(text: str) -> str:
    return {ONE: "[^/?#]+", ANY: "[^?#]*"}.get(text, quote(text))
