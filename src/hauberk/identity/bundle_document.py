"""The SPIFFE bundle format (SPIFFE Trust Domain and Bundle, 4): one trust domain's keys as a JWK Set (RFC 7517).

What a newer publisher adds is ignored, as the texts demand, and named in `ignored`; what is broken refuses the whole document, so that
a reader keeps the last good one instead of half of a new one.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hauberk.identity.jwk_key import KEY_TYPES, SECRET_MEMBERS, InvalidJwk, UnknownJwk, decode_public_key, encode_public_key
from hauberk.identity.trust import REFRESH_HINT, ForeignBundle, JwtKey
from hauberk.identity.trust_bundle import check_authority

X509_USE: Final = "x509-svid"
JWT_USE: Final = "jwt-svid"
SEQUENCE: Final = "spiffe_sequence"
HINT: Final = "spiffe_refresh_hint"

MAX_BYTES: Final = 1024 * 1024
MAX_KEYS: Final = 512
MAX_SEQUENCE: Final = (1 << 64) - 1  # the texts demand 64 bits
_MAX_HINT: Final = 366 * 24 * 3600  # seconds; a longer one is a mistake


class InvalidBundle(ValueError):
    """A document is no SPIFFE bundle; the message says which entry breaks which rule."""


@dataclass(frozen=True, slots=True)
class ParsedBundle:
    """The bundle, and what of the document was not for us. `has_sequence`: the publisher counts its bundles."""

    bundle: ForeignBundle
    has_sequence: bool
    ignored: tuple[str, ...] = ()


def encode_bundle(bundle: ForeignBundle) -> bytes:
    """The document of `bundle`; equal bundles have equal bytes. A sequence of 0 is none: its publisher does not count."""
    keys: list[dict[str, Any]] = [_x509_entry(each) for each in bundle.x509_authorities]
    for jwt_key in bundle.jwt_keys:
        # Whatever else a key says of itself, `use` and `kid` are what a reader looks for.
        keys.append({**json.loads(jwt_key.jwk), "use": JWT_USE, "kid": jwt_key.key_id})
    counted = {SEQUENCE: bundle.sequence} if bundle.sequence else {}
    document = {**counted, HINT: bundle.refresh_hint // timedelta(seconds=1), "keys": keys}
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def parse_bundle(data: bytes, trust_domain: str) -> ParsedBundle:
    """The bundle of `trust_domain` that `data` is; the document itself does not say whose it is. Raises InvalidBundle."""
    document = _read(data)
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise InvalidBundle("it has no list `keys`; a domain without keys says so with an empty one")
    if len(keys) > MAX_KEYS:
        raise InvalidBundle(f"it has {len(keys)} keys, more than {MAX_KEYS}")
    sequence, hint = _integer(document, SEQUENCE, MAX_SEQUENCE), _integer(document, HINT, _MAX_HINT)
    certificates: dict[bytes, x509.Certificate] = {}
    jwt_keys: dict[str, JwtKey] = {}
    ignored: list[str] = []
    for index, entry in enumerate(keys):
        match _parse_entry(index, entry):
            case x509.Certificate() as certificate:
                certificates[certificate.public_bytes(Encoding.DER)] = certificate
            case JwtKey() as key:
                if jwt_keys.setdefault(key.key_id, key) != key:
                    raise InvalidBundle(f"keys[{index}]: another key has the same kid {key.key_id[:80]!r}")
            case str(reason):
                ignored.append(f"keys[{index}]: {reason}")
    bundle = ForeignBundle(
        trust_domain=trust_domain,
        x509_authorities=tuple(certificates.values()),
        jwt_keys=tuple(jwt_keys.values()),
        sequence=sequence or 0,
        refresh_hint=timedelta(seconds=hint) if hint else REFRESH_HINT,
    )
    return ParsedBundle(bundle, sequence is not None, tuple(ignored))


def _read(data: bytes) -> Mapping[str, Any]:
    if len(data) > MAX_BYTES:
        raise InvalidBundle(f"it is larger than {MAX_BYTES // 1024} kB")
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_once_each, parse_constant=_no_constant)
    except InvalidBundle:
        raise
    except (ValueError, RecursionError) as exc:
        raise InvalidBundle("it is not a JSON document in UTF-8") from exc
    if not isinstance(document, dict):
        raise InvalidBundle("it is not a JSON object")
    return document


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    # Readers differ in which of two members counts: such a document means two things.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidBundle("an object in it names a member twice")
    return found


def _no_constant(name: str) -> None:
    raise InvalidBundle(f"{name} is not JSON")


def _integer(document: Mapping[str, Any], name: str, limit: int) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
        raise InvalidBundle(f"{name} is not a whole number from 0 to {limit}")
    return value


def _parse_entry(index: int, entry: object) -> x509.Certificate | JwtKey | str:
    """What the entry holds, or why it is not for us."""
    if not isinstance(entry, dict):
        raise InvalidBundle(f"keys[{index}] is not an object")
    if secret := SECRET_MEMBERS & entry.keys():
        raise InvalidBundle(f"keys[{index}] holds a private key (member {min(secret)}): it is lost, and must be replaced by its owner")
    kind, use = entry.get("kty"), entry.get("use")
    if not isinstance(kind, str) or kind not in KEY_TYPES:
        return f"its kty {_shown(kind)} is not known here"
    try:
        match use:
            case "x509-svid":
                return _parse_x509(entry)
            case "jwt-svid":
                return _parse_jwt(entry)
            case _:
                return f"its use {_shown(use)} is not known here"
    except UnknownJwk as unknown:
        return str(unknown)
    except ValueError as exc:
        raise InvalidBundle(f"keys[{index}] ({use}): {exc}") from exc


def _parse_x509(entry: Mapping[str, Any]) -> x509.Certificate | str:
    if "x5c" not in entry:
        return "it is for X509-SVIDs and has no x5c"
    match entry["x5c"]:
        case [str(first), *_]:  # more than one is not ours to judge: only the first is the authority
            certificate = _certificate(first)
        case _:
            raise InvalidBundle("its x5c is not a list that begins with a certificate")
    check_authority(certificate)
    # RFC 7517, 4.7: the members and the certificate must be one key. Readers who look at only one of them must not differ.
    if len(entry.keys() & {"x", "y", "n", "e"}) and not _same_key(entry, certificate):
        raise InvalidBundle("its members are another key than its certificate's")
    return certificate


def _parse_jwt(entry: Mapping[str, Any]) -> JwtKey:
    key_id = entry.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise InvalidBundle("it is for JWT-SVIDs and has no kid")
    members = {"use": JWT_USE, "kid": key_id, **encode_public_key(decode_public_key(entry))}
    if isinstance(entry.get("alg"), str):
        members["alg"] = entry["alg"]
    return JwtKey(key_id=key_id, jwk=json.dumps(members, sort_keys=True, separators=(",", ":")))


def _certificate(text: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error) as exc:
        raise InvalidBundle("its x5c holds no certificate that can be read") from exc


def _same_key(entry: Mapping[str, Any], certificate: x509.Certificate) -> bool:
    member, own = decode_public_key(entry), certificate.public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return member.public_bytes(*form) == own.public_bytes(*form)


def _x509_entry(certificate: x509.Certificate) -> dict[str, Any]:
    der = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    key = certificate.public_key()
    try:
        members = encode_public_key(key)  # type: ignore[arg-type]  # a key of another kind is refused by its match
    except InvalidJwk as exc:
        raise InvalidBundle("an authority's key has no form as a JWK") from exc
    return {**members, "use": X509_USE, "x5c": [der]}


def _shown(value: object) -> str:
    return "that is missing" if value is None else repr(value)[:40]
