"""What connections between sidecars may be encrypted with: the key `hauberk.tls` of the mesh's settings, and Istio's `meshMTLS`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from hauberk.api.finding import Finding, Location
from hauberk.api.model import ApiModel

Profile = Literal["default", "post-quantum", "fips"]
Version = Literal["1.2", "1.3"]

# Key agreements by name, as far as the proxy knows them; the first joins a classical one and one that a quantum computer does not break.
HYBRID: Final = "X25519MLKEM768"
GROUPS: Final = (HYBRID, "X25519", "P-256", "P-384", "P-521")
# Of TLS 1.2 only suites with forward secrecy and authenticated encryption. Those of 1.3 are all of this kind, and cannot be chosen.
SUITES: Final = (
    *("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    *("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
)

_ISTIO_VERSIONS: Final[dict[str, Version]] = {"TLSV1_2": "1.2", "TLSV1_3": "1.3"}
_OF_MESH: Final[Location] = ("meshMTLS",)
_OF_HAUBERK: Final[Location] = ("hauberk", "tls")


def _text(value: object) -> object:
    # YAML without quotes makes a number of it.
    return str(value) if isinstance(value, float) else value


class TlsSettings(ApiModel):
    """A profile names what both sides may agree on; 1.2 is for peers that are no sidecars and speak nothing newer."""

    profile: Profile = "default"
    minimum_version: Annotated[Version, BeforeValidator(_text)] | None = None


class MeshMtls(ApiModel):
    """Istio's settings of TLS inside the mesh; TLS_AUTO leaves the version to this mesh, which takes 1.3."""

    min_protocol_version: Literal["TLS_AUTO", "TLSV1_2", "TLSV1_3"] = "TLS_AUTO"
    ecdh_curves: tuple[Annotated[str, Field(max_length=64)], ...] = ()
    cipher_suites: tuple[Annotated[str, Field(max_length=64)], ...] = ()


def minimum_version(own: TlsSettings, istio: MeshMtls) -> Version:
    """What is asked for in either of the two places; 1.3 if in none."""
    return own.minimum_version or _ISTIO_VERSIONS.get(istio.min_protocol_version, "1.3")


def check_tls(own: TlsSettings, istio: MeshMtls) -> Iterator[Finding]:
    """What contradicts itself, is not known or has no effect."""
    yield from _check_version(own, istio)
    yield from _check_groups(own, istio)
    yield from _check_suites(own, istio)


def _check_version(own: TlsSettings, istio: MeshMtls) -> Iterator[Finding]:
    asked = _ISTIO_VERSIONS.get(istio.min_protocol_version)
    if own.minimum_version is not None and asked is not None and asked != own.minimum_version:
        message = f"meshMTLS.minProtocolVersion asks for {asked}, this for {own.minimum_version}"
        yield Finding("HBK0106", (*_OF_HAUBERK, "minimumVersion"), message, "say it in one of the two places")
    elif own.profile == "post-quantum" and minimum_version(own, istio) == "1.2":
        at: Location = (*_OF_HAUBERK, "minimumVersion") if own.minimum_version else (*_OF_MESH, "minProtocolVersion")
        message = "TLS 1.2 knows no key agreement of the profile post-quantum"
        yield Finding("HBK0106", at, message, "take 1.3, or another profile")


def _check_groups(own: TlsSettings, istio: MeshMtls) -> Iterator[Finding]:
    if istio.ecdh_curves and own.profile == "fips":
        message = "the profile fips decides the key agreements itself: P-256, P-384"
        yield Finding("HBK0106", (*_OF_MESH, "ecdhCurves"), message, "leave out one of the two")
        return
    for index, name in enumerate(istio.ecdh_curves):
        at: Location = (*_OF_MESH, "ecdhCurves", index)
        if name not in GROUPS:
            yield Finding("HBK0106", at, f"{name!r} is no key agreement that is known here", f"one of {', '.join(GROUPS)}")
        elif own.profile == "post-quantum" and name != HYBRID:
            yield Finding("HBK0106", at, f"{name} is not of the profile post-quantum", f"only {HYBRID} is")


def _check_suites(own: TlsSettings, istio: MeshMtls) -> Iterator[Finding]:
    at: Location = (*_OF_MESH, "cipherSuites")
    if not istio.cipher_suites:
        return
    if own.profile == "fips":
        yield Finding("HBK0106", at, "the profile fips decides the cipher suites itself", "leave out one of the two")
    elif minimum_version(own, istio) == "1.3":
        yield Finding("HBK0402", at, "suites can be chosen for TLS 1.2 only, which is not allowed here; this has no effect")
    elif not any(name in SUITES for name in istio.cipher_suites):
        yield Finding("HBK0106", at, "none of these suites is allowed", f"some of {', '.join(SUITES)}")
    else:
        for index, name in enumerate(istio.cipher_suites):
            if name not in SUITES:
                message = f"{name!r} is unknown, or without forward secrecy or authenticated encryption; it is left out"
                yield Finding("HBK0402", (*at, index), message)
