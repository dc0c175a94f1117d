"""The join file: all that a machine needs to join, as the control plane's operator hands it to the machine's."""

import json
import os
import stat
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from hauberk.api.name import subdomain_fault
from hauberk.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from hauberk.identity.trust_bundle import InvalidTrustBundle, TrustBundle
from hauberk.kit.clock import parse_timestamp
from hauberk.local.failure import LocalFailure
from hauberk.local.remote_listen import Address, ListenInvalid, parse_address

FORMAT: Final = "hauberk.join/1"
LARGEST: Final = 1024 * 1024  # bytes
_AGAIN: Final = "make a new one on the control plane's machine: hauberk ca token create NODE -o FILE"
_PRIVATE: Final = f"run `chmod 600 {{path}}`; if somebody may have read it: {_AGAIN}"


class JoinFileUnusable(LocalFailure):
    """The join file cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinFile:
    """Where the control plane is, how it is recognised, and the token, which is in no repr."""

    node: str
    addresses: tuple[Address, ...]
    trust_domain: str
    trust_bundle: tuple[str, ...]  # PEM
    expires: datetime
    token: str = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file at `path`; raises JoinFileUnusable, which quotes nothing of it."""
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read(LARGEST)
        except OSError as exc:
            raise JoinFileUnusable(f"cannot read the join file {path}: {exc.strerror}", _AGAIN) from exc
        if stat.S_ISREG(mode) and mode & 0o077:
            # Whoever reads it first is the machine; nobody would know before the right one is refused.
            raise JoinFileUnusable(f"others may read or change {path}, which holds a token", _PRIVATE.format(path=path))
        try:
            # What is too long has been cut off, and is no JSON any more.
            return cls.parse(json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError, InvalidSpiffeId, InvalidTrustBundle, ListenInvalid):
            # Without its cause: a parser's message could quote the token.
            raise JoinFileUnusable(f"{path} is no join file, or a damaged one", _AGAIN) from None

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Self:
        """The file's contents; ValueError, KeyError or TypeError if it is none."""
        if document["format"] != FORMAT:
            raise ValueError("another format")
        trust_domain = SpiffeId(str(document["trustDomain"])).trust_domain
        bundle = TrustBundle.parse(trust_domain, [str(each) for each in document["trustBundle"]])
        addresses = tuple(parse_address(str(each), "addresses") for each in document["addresses"])
        if not bundle.authorities or not addresses or subdomain_fault(str(document["node"])):
            raise ValueError("nobody to trust, nowhere to go, or no name")
        return cls(
            node=str(document["node"]),
            addresses=addresses,
            trust_domain=trust_domain,
            trust_bundle=bundle.pems,
            expires=parse_timestamp(str(document["expires"])),
            token=str(document["token"]),
        )
