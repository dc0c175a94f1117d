"""The messages of the SPIFFE Workload API, as values and as the bytes they travel as.

Ours come from a table, in a pool of their own: a process that also imports a SPIFFE library, which brings the same messages under the
same names, must not fail for it. A `map` of protobuf is, on the wire, a repeated message of key and value, and is written as that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError

from hauberk.identity.wire import InvalidMessage
from hauberk.identity.wire_schema import Schema, build_messages

SERVICE: Final = "SpiffeWorkloadAPI"
FETCH_X509_SVID: Final = "FetchX509SVID"
FETCH_X509_BUNDLES: Final = "FetchX509Bundles"
FETCH_JWT_SVID: Final = "FetchJWTSVID"
FETCH_JWT_BUNDLES: Final = "FetchJWTBundles"
VALIDATE_JWT_SVID: Final = "ValidateJWTSVID"
# Workload Endpoint, 6.1: what a browser or a confused proxy would never send.
SECURITY_HEADER: Final = "workload.spiffe.io"

_SCHEMA: Final[Schema] = {
    "X509SVID": ("string spiffe_id", "bytes x509_svid", "bytes x509_svid_key", "bytes bundle", "string hint"),
    "Bundle": ("string key", "bytes value"),
    "X509SVIDResponse": ("repeated X509SVID svids", "repeated bytes crl", "repeated Bundle federated_bundles"),
    "X509BundlesResponse": ("repeated bytes crl", "repeated Bundle bundles"),
    "JWTSVIDRequest": ("repeated string audience", "string spiffe_id"),
    "JWTSVID": ("string spiffe_id", "string svid", "string hint"),
    "JWTSVIDResponse": ("repeated JWTSVID svids",),
    "JWTBundlesResponse": ("repeated Bundle bundles",),
    "ValidateJWTSVIDRequest": ("string audience", "string svid"),
    # google.protobuf.Struct and its parts: an enum with the one member 0 is written like a whole number.
    "Field": ("string key", "Value value"),
    "Struct": ("repeated Field fields",),
    "ListValue": ("repeated Value values",),
    "Value": (
        "oneof:kind int64 null_value",
        "oneof:kind double number_value",
        "oneof:kind string string_value",
        "oneof:kind bool bool_value",
        "oneof:kind Struct struct_value",
        "oneof:kind ListValue list_value",
    ),
    "ValidateJWTSVIDResponse": ("string spiffe_id", "Struct claims"),
}
_MESSAGES: Final = build_messages(_SCHEMA, file="hauberk/workload.proto", package="")


@dataclass(frozen=True, slots=True, kw_only=True)
class X509SvidEntry:
    """One identity with its key (unencrypted PKCS#8 in DER, and in no repr) and the authorities of its trust domain; all DER."""

    spiffe_id: str
    chain: bytes  # leaf first
    key: bytes = field(repr=False)
    bundle: bytes
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSvidEntry:
    """One token, which is a secret."""

    spiffe_id: str
    token: str = field(repr=False)
    hint: str = ""


@dataclass(frozen=True, slots=True)
class JwtSvidRequest:
    """Tokens for `audience` are asked for: of one identity, or (empty) of each."""

    audience: tuple[str, ...]
    spiffe_id: str


@dataclass(frozen=True, slots=True)
class ValidateRequest:
    """Somebody else's token is to be judged by who calls himself `audience`."""

    audience: str
    token: str = field(repr=False)


def method_path(method: str) -> str:
    """The path that gRPC calls `method` by."""
    return f"/{SERVICE}/{method}"


def encode_x509_svids(svids: Iterable[X509SvidEntry], crls: Iterable[bytes], federated: Mapping[str, bytes]) -> bytes:
    """X509SVIDResponse; bundles are named by the SPIFFE ID of their trust domain."""
    entries = [
        _MESSAGES["X509SVID"](spiffe_id=each.spiffe_id, x509_svid=each.chain, x509_svid_key=each.key, bundle=each.bundle, hint=each.hint)
        for each in svids
    ]
    return _bytes(_MESSAGES["X509SVIDResponse"](svids=entries, crl=crls, federated_bundles=_bundles(federated)))


def encode_x509_bundles(bundles: Mapping[str, bytes], crls: Iterable[bytes]) -> bytes:
    """X509BundlesResponse."""
    return _bytes(_MESSAGES["X509BundlesResponse"](crl=crls, bundles=_bundles(bundles)))


def encode_jwt_svids(svids: Iterable[JwtSvidEntry]) -> bytes:
    """JWTSVIDResponse."""
    entries = [_MESSAGES["JWTSVID"](spiffe_id=each.spiffe_id, svid=each.token, hint=each.hint) for each in svids]
    return _bytes(_MESSAGES["JWTSVIDResponse"](svids=entries))


def encode_jwt_bundles(bundles: Mapping[str, bytes]) -> bytes:
    """JWTBundlesResponse: a JWK Set for each trust domain."""
    return _bytes(_MESSAGES["JWTBundlesResponse"](bundles=_bundles(bundles)))


def encode_validated(spiffe_id: str, claims: Mapping[str, object]) -> bytes:
    """ValidateJWTSVIDResponse; raises InvalidMessage if there is something in `claims` that JSON can say and a Struct cannot."""
    try:
        return _bytes(_MESSAGES["ValidateJWTSVIDResponse"](spiffe_id=spiffe_id, claims=_struct(claims)))
    except (OverflowError, UnicodeEncodeError, RecursionError) as exc:
        raise InvalidMessage("its claims hold a number, a text or a depth that cannot be handed on") from exc


def decode_jwt_svid_request(data: bytes) -> JwtSvidRequest:
    """Raises InvalidMessage."""
    read = _read("JWTSVIDRequest", data)
    return JwtSvidRequest(audience=tuple(read.audience), spiffe_id=read.spiffe_id)


def decode_validate_request(data: bytes) -> ValidateRequest:
    """Raises InvalidMessage."""
    read = _read("ValidateJWTSVIDRequest", data)
    return ValidateRequest(audience=read.audience, token=read.svid)


def _bundles(bundles: Mapping[str, bytes]) -> list[Any]:
    # Sorted, so that what is equal is equal bytes and is not sent again.
    return [_MESSAGES["Bundle"](key=name, value=bundles[name]) for name in sorted(bundles)]


def _struct(claims: Mapping[str, object]) -> Any:
    return _MESSAGES["Struct"](fields=[_MESSAGES["Field"](key=name, value=_value(claims[name])) for name in sorted(claims)])


def _value(value: object) -> Any:
    kind = _MESSAGES["Value"]
    match value:
        case None:
            return kind(null_value=0)
        case bool():  # before numbers, which it is one of
            return kind(bool_value=value)
        case int() | float():
            return kind(number_value=float(value))
        case str():
            return kind(string_value=value)
        case Mapping():
            return kind(struct_value=_struct(value))
        case list() | tuple():
            return kind(list_value=_MESSAGES["ListValue"](values=[_value(each) for each in value]))
        case _:
            raise TypeError(f"{type(value).__name__} is nothing that JSON knows")


def _read(name: str, data: bytes) -> Any:
    try:
        return _MESSAGES[name].FromString(data)
    except (DecodeError, ValueError) as exc:
        raise InvalidMessage(f"not a message {name}") from exc


def _bytes(built: Any) -> bytes:
    encoded: bytes = built.SerializeToString(deterministic=True)
    return encoded
