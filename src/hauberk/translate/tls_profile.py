"""What the two ends of a connection between sidecars may agree on: versions, key agreements, ciphers.

Every two profiles but `post-quantum` and `fips` share something, and all demand a certificate of the other side: while a change
reaches one proxy after the other, connections between them are made with what both know, and none is made without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, assert_never

from envoy.extensions.transport_sockets.tls.v3 import common_pb2

from hauberk.api.mesh_config import MeshConfig
from hauberk.api.mesh_tls import HYBRID, SUITES, Profile, Version, minimum_version

Parameters = common_pb2.TlsParameters

_VERSIONS: Final[dict[Version, common_pb2.TlsParameters.TlsProtocol.ValueType]] = {
    "1.2": Parameters.TlsProtocol.TLSv1_2,
    "1.3": Parameters.TlsProtocol.TLSv1_3,
}


# For one certificate instead of a whole context.
NEWEST: Final = Parameters(tls_minimum_protocol_version=_VERSIONS["1.3"], tls_maximum_protocol_version=_VERSIONS["1.3"])


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsProfile:
    """`suites` are those of TLS 1.2; `approved`: nothing but algorithms that FIPS 140 approves, of TLS 1.3 as well."""

    minimum: Version = "1.3"
    # What is recorded today must not be read in ten years: the hybrid one first.
    groups: tuple[str, ...] = (HYBRID, "X25519", "P-256")
    suites: tuple[str, ...] = SUITES
    approved: bool = False


def build_profile(config: MeshConfig) -> TlsProfile:
    """What `config` asks for, in its own words or in Istio's."""
    own, istio = config.hauberk.tls, config.mesh_mtls
    return TlsProfile(
        minimum=minimum_version(own, istio),
        groups=istio.ecdh_curves or _groups(own.profile),
        suites=_approved_suites() if own.profile == "fips" else _known(istio.cipher_suites) or SUITES,
        approved=own.profile == "fips",
    )


def tls_parameters(profile: TlsProfile) -> common_pb2.TlsParameters:
    """`profile` for a transport socket, on either side."""
    parameters = Parameters(
        tls_minimum_protocol_version=_VERSIONS[profile.minimum],
        # Without it a calling Envoy offers 1.2 at most.
        tls_maximum_protocol_version=Parameters.TlsProtocol.TLSv1_3,
        ecdh_curves=profile.groups,
        cipher_suites=profile.suites if profile.minimum == "1.2" else (),
    )
    if profile.approved:
        # The one way to leave ChaCha20 out of TLS 1.3. It also sets the versions, to 1.2 and newer: see `tls.certificate_name`.
        parameters.compliance_policies.append(Parameters.CompliancePolicy.FIPS_202205)
    return parameters


def _groups(profile: Profile) -> tuple[str, ...]:
    match profile:
        case "default":
            return TlsProfile().groups
        case "post-quantum":
            return (HYBRID,)
        case "fips":
            return ("P-256", "P-384")
        case other:
            assert_never(other)


def _known(suites: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in suites if name in SUITES))


def _approved_suites() -> tuple[str, ...]:
    return tuple(name for name in SUITES if "AES" in name)
