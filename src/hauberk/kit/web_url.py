"""URLs of documents that are fetched for somebody else's sake: which are taken, and where a redirect leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

_LONGEST: Final = 2048
_PORTS: Final = {"https": 443, "http": 80}


class InvalidUrl(ValueError):
    """Nothing is fetched from such a URL; the message says why."""


@dataclass(frozen=True, slots=True)
class WebUrl:
    """A checked URL; of scheme https unless http was allowed."""

    host: str
    port: int
    target: str  # path and query
    scheme: str = "https"

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str, what: str = "a URL to fetch from", *, plain: bool = False) -> WebUrl:
    """The URL in `text`; raises InvalidUrl, whose message calls it `what`. Scheme https (or, if `plain`, http); no user information."""
    if len(text) > _LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidUrl(f"{what} has at most {_LONGEST} printable ASCII characters and no spaces")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise InvalidUrl(f"{text[:80]!r} is no URL") from exc
    if parts.scheme not in (("https", "http") if plain else ("https",)):
        raise InvalidUrl(f"{what} begins with https://, not {text[:20]!r}")
    if "@" in parts.netloc:
        raise InvalidUrl(f"{what} has no user information")
    if not parts.hostname:
        raise InvalidUrl(f"{what} names a host")
    if parts.fragment:
        raise InvalidUrl(f"{what} has no fragment")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebUrl(parts.hostname, _PORTS[parts.scheme] if port is None else port, target, parts.scheme)


def redirected(url: WebUrl, location: str, what: str = "a URL to fetch from") -> WebUrl:
    """Where `location` in an answer from `url` leads; the rules are the same as for the first URL. Raises InvalidUrl."""
    try:
        target = urljoin(str(url), location)
    except ValueError as exc:
        raise InvalidUrl(f"a redirect leads to {location[:80]!r}, which is no URL") from exc
    return parse_url(target, what)
