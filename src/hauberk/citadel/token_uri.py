"""Which PKCS#11 token holds the keys: the URI of RFC 7512, of which only what names a token, its module and its PIN file is understood."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

_SCHEME = "pkcs11:"
_NAMES = ("token", "serial", "manufacturer", "model")
_EXAMPLE = "pkcs11:token=hauberk?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/hauberk/pin"


class InvalidTokenUri(ValueError):
    """The setting names no token; the message never holds a PIN."""

    def __init__(self, source: str, reason: str) -> None:
        self.reason = f"it is not the URI of a PKCS#11 token: {reason}"
        self.remedy = f"write for example {_EXAMPLE}"
        super().__init__(f"{source}: {self.reason}; {self.remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUri:
    """A token, by what it says of itself; None is not compared."""

    module: Path
    pin_file: Path
    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None

    def __str__(self) -> str:
        """How to call it in a message: without the place of its PIN."""
        named = ((name, getattr(self, name)) for name in _NAMES)
        return f"the token {_SCHEME}{';'.join(f'{name}={value}' for name, value in named if value is not None)}"


def parse_token_uri(text: str, source: str) -> TokenUri:
    """The token that `text` names; raises InvalidTokenUri. `source` names the setting."""
    if not text.startswith(_SCHEME):
        raise InvalidTokenUri(source, f"it does not begin with {_SCHEME}")
    path, _, query = text.removeprefix(_SCHEME).partition("?")
    names, wanted = _attributes(path, ";", source), _attributes(query, "&", source)
    if "pin-value" in names | wanted:
        # Whoever may read the environment of a process would have it.
        raise InvalidTokenUri(source, "a PIN does not belong into a setting: write it into a file of mode 0600 and name that as pin-source")
    if unknown := sorted((names.keys() - set(_NAMES)) | (wanted.keys() - {"module-path", "pin-source"})):
        raise InvalidTokenUri(source, f"{', '.join(unknown)} is not understood here")
    if not names:
        raise InvalidTokenUri(source, "it says nothing of the token")
    return TokenUri(
        module=_absolute(wanted.get("module-path"), "module-path", source),
        pin_file=_absolute(wanted.get("pin-source"), "pin-source", source),
        **names,
    )


def _attributes(text: str, separator: str, source: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else ():
        name, equals, value = part.partition("=")
        if not equals or name in found:
            raise InvalidTokenUri(source, f"{name!r} has no value" if not equals else f"{name!r} is there twice")
        found[name] = unquote(value)
    return found


def _absolute(text: str | None, name: str, source: str) -> Path:
    path = Path((text or "").removeprefix("file:"))
    # file:/a and file:///a are the same (RFC 8089, appendix B).
    if not path.is_absolute():
        raise InvalidTokenUri(source, f"it has no {name} with an absolute path")
    return Path("/") / str(path).lstrip("/")
