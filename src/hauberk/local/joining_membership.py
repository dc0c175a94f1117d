"""What a machine that has joined keeps: who it is, where its control plane is, and the key that proves it.

The key is on disk, readable by its owner alone, so that an agent (or the machine) that starts again needs no new token. Whoever can
read it can be this machine's agent until its certificate expires or the machine is banned, and nothing more.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hauberk.identity.svid import InvalidSvid, X509Svid
from hauberk.identity.trust_bundle import InvalidTrustBundle, TrustBundle, to_pem
from hauberk.local.failure import LocalFailure
from hauberk.local.remote_certificate import Own
from hauberk.local.remote_listen import Address, ListenInvalid, format_address, parse_address

FORMAT: Final = "hauberk.membership/1"
_AGAIN: Final = (
    "join again: `hauberk ca token create NODE -o FILE` on the control plane's machine, then `hauberk agent --join FILE` on this one"
)


class MembershipUnusable(LocalFailure):
    """The file that says which mesh this machine belongs to cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """This machine's place in the mesh of a control plane elsewhere. `roots` (PEM): whom it believed last."""

    node: str
    trust_domain: str
    addresses: tuple[Address, ...]
    roots: tuple[str, ...]
    own: Own

    def to_document(self) -> dict[str, Any]:
        """As it is kept. It holds the key."""
        return {
            "format": FORMAT,
            "node": self.node,
            "trustDomain": self.trust_domain,
            "addresses": [format_address(each) for each in self.addresses],
            "roots": list(self.roots),
            "chain": [to_pem(each) for each in self.own.svid.chain],
            "authority": self.own.authority_id,
            "key": self.own.key_pem.decode(),
        }

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """What `to_document` made; ValueError, KeyError or TypeError if it did not."""
        if document["format"] != FORMAT:
            raise ValueError("another format")
        svid = X509Svid.parse([str(each) for each in document["chain"]])
        key_pem = str(document["key"]).encode()
        if load_pem_private_key(key_pem, password=None).public_key() != svid.leaf.public_key():
            raise ValueError("the key is another's")
        return cls(
            node=str(document["node"]),
            trust_domain=str(document["trustDomain"]),
            addresses=tuple(parse_address(str(each), "addresses") for each in document["addresses"]),
            roots=TrustBundle.parse(str(document["trustDomain"]), [str(each) for each in document["roots"]]).pems,
            own=Own(svid=svid, key_pem=key_pem, authority_id=str(document["authority"])),
        )


def read_membership(path: Path) -> Membership | None:
    """What is kept at `path`; None if this machine has joined nothing. Raises MembershipUnusable."""
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise MembershipUnusable(f"cannot read {path}: {exc.strerror}", "make it readable for the mesh's user") from exc
    if facts.st_mode & 0o077:
        raise MembershipUnusable(f"others may read {path}, which holds a key", f"run `chmod 600 {path}`; if they may have: {_AGAIN}")
    if facts.st_uid != os.geteuid():
        raise MembershipUnusable(
            f"{path}, which holds a key, belongs to another user", f"make it this user's; if it is not yours: {_AGAIN}"
        )
    try:
        return Membership.parse(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, UnsupportedAlgorithm, InvalidSvid, InvalidTrustBundle, ListenInvalid):
        # Without its cause: a parser's message could quote the key.
        raise MembershipUnusable(f"{path} is damaged", _AGAIN) from None


def write_membership(path: Path, membership: Membership) -> None:
    """It is on disk, or, after a crash, what was there before."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(membership.to_document(), indent=1).encode())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def require_alive(membership: Membership, now: datetime) -> None:
    """Its certificate can still prove who this machine is; raises MembershipUnusable, which says what to do."""
    if (reason := expired(membership, now)) is not None:
        raise MembershipUnusable(reason, _AGAIN)


def expired(membership: Membership, now: datetime) -> str | None:
    """That the certificate has expired, and when; None: it has not."""
    ended = membership.own.svid.not_after
    if now < ended:
        return None
    return (
        f"the certificate of node {membership.node} expired at {ended:%Y-%m-%d %H:%M:%S} UTC, while nothing renewed it: "
        "the control plane cannot tell this machine from any other"
    )
