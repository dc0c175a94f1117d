"""SPIFFE IDs: the names of workloads, by the rules of the SPIFFE-ID standard."""

from dataclasses import dataclass
from typing import Self

SCHEME = "spiffe"
MAX_ID_BYTES = 2048
MAX_TRUST_DOMAIN_BYTES = 255

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")
_SEGMENT = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class InvalidSpiffeId(ValueError):
    """A text is not a SPIFFE ID; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A valid SPIFFE ID: an invalid one cannot be constructed. `path` is empty or starts with a slash."""

    trust_domain: str
    path: str = ""

    def __post_init__(self) -> None:
        _check_trust_domain(self.trust_domain)
        _check_path(self.path)
        # Both parts are ASCII by now, so characters are bytes.
        if len(str(self)) > MAX_ID_BYTES:
            raise InvalidSpiffeId(f"a SPIFFE ID has at most {MAX_ID_BYTES} bytes")

    def __str__(self) -> str:
        return f"{SCHEME}://{self.trust_domain}{self.path}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The SPIFFE ID that `text` is; no part is repaired, decoded or normalized.

        Of the spellings that the standard calls equal (SPIFFE-ID, 2: the scheme's case) one is taken: proxies, policies and revocations
        compare texts, and whoever could write his name in two ways could be somebody else to one of them.
        """
        scheme, separator, rest = text.partition("://")
        if not separator or scheme != SCHEME:
            raise InvalidSpiffeId(f"{text[:80]!r} does not begin with {SCHEME}://, in small letters")
        for mark, part in (("?", "query"), ("#", "fragment")):
            if mark in rest:
                raise InvalidSpiffeId(f"a SPIFFE ID has no {part}")
        authority, slash, path = rest.partition("/")
        return cls(authority, slash + path)

    @property
    def is_workload(self) -> bool:
        """Whether this names a workload: the ID of a trust domain itself has no path."""
        return bool(self.path)


def workload_id(trust_domain: str, namespace: str, service_account: str) -> SpiffeId:
    """The one identity of a ServiceAccount."""
    return SpiffeId(trust_domain, f"/ns/{namespace}/sa/{service_account}")


def service_account_of(spiffe_id: SpiffeId) -> tuple[str, str] | None:
    """(namespace, service account) that `spiffe_id` names, or None if it has another shape."""
    match spiffe_id.path.split("/"):
        case ["", "ns", namespace, "sa", service_account]:
            return namespace, service_account
        case _:
            return None


def _check_trust_domain(name: str) -> None:
    if not name:
        raise InvalidSpiffeId("a SPIFFE ID needs a trust domain")
    if "@" in name:
        raise InvalidSpiffeId("a SPIFFE ID has no user information")
    if ":" in name:
        raise InvalidSpiffeId("a SPIFFE ID has no port")
    if not _LOWER.issuperset(name):
        raise InvalidSpiffeId(f"trust domain {name[:80]!r} may hold only a-z, 0-9, '.', '-' and '_'")
    if len(name) > MAX_TRUST_DOMAIN_BYTES:
        raise InvalidSpiffeId(f"a trust domain has at most {MAX_TRUST_DOMAIN_BYTES} bytes")


def _check_path(path: str) -> None:
    if not path:
        return
    first, *segments = path.split("/")
    if first:
        raise InvalidSpiffeId("a path begins with '/'")
    for segment in segments:
        if segment in ("", ".", ".."):
            raise InvalidSpiffeId(f"path {path[:80]!r} has an empty, '.' or '..' segment")
        if not _SEGMENT.issuperset(segment):
            raise InvalidSpiffeId(f"path segment {segment[:80]!r} may hold only letters, digits, '.', '-' and '_'")
