"""Settings of TLS inside the mesh, in this mesh's words and in Istio's."""

from __future__ import annotations

import pytest

from hauberk.api.mesh_config import parse_mesh_config
from hauberk.api.mesh_tls import minimum_version


def found(text: str) -> list[tuple[str, str]]:
    _, findings = parse_mesh_config(text)
    return [(each.code, ".".join(map(str, each.at))) for each in findings]


def test_nothing_said_is_the_default_profile_and_1_3() -> None:
    config, _ = parse_mesh_config("")
    assert config and config.hauberk.tls.profile == "default"
    assert minimum_version(config.hauberk.tls, config.mesh_mtls) == "1.3"


@pytest.mark.parametrize(
    "text", ["hauberk: {tls: {minimumVersion: 1.2}}", "hauberk: {tls: {minimumVersion: '1.2'}}", "meshMTLS: {minProtocolVersion: TLSV1_2}"]
)
def test_version_1_2_can_be_asked_for_in_either_place(text: str) -> None:
    config, findings = parse_mesh_config(text)
    assert config and not findings
    assert minimum_version(config.hauberk.tls, config.mesh_mtls) == "1.2"


def test_istios_auto_leaves_the_version_to_this_mesh() -> None:
    config, _ = parse_mesh_config("meshMTLS: {minProtocolVersion: TLS_AUTO}")
    assert config and minimum_version(config.hauberk.tls, config.mesh_mtls) == "1.3"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("hauberk: {tls: {minimumVersion: 1.3}}\nmeshMTLS: {minProtocolVersion: TLSV1_2}", "hauberk.tls.minimumVersion"),
        ("hauberk: {tls: {profile: post-quantum, minimumVersion: 1.2}}", "hauberk.tls.minimumVersion"),
        ("hauberk: {tls: {profile: post-quantum}}\nmeshMTLS: {minProtocolVersion: TLSV1_2}", "meshMTLS.minProtocolVersion"),
        ("hauberk: {tls: {profile: post-quantum}}\nmeshMTLS: {ecdhCurves: [X25519MLKEM768, X25519]}", "meshMTLS.ecdhCurves.1"),
        ("hauberk: {tls: {profile: fips}}\nmeshMTLS: {ecdhCurves: [P-256]}", "meshMTLS.ecdhCurves"),
        ("hauberk: {tls: {profile: fips}}\nmeshMTLS: {cipherSuites: [ECDHE-ECDSA-AES128-GCM-SHA256]}", "meshMTLS.cipherSuites"),
        ("meshMTLS: {ecdhCurves: [secp256k1]}", "meshMTLS.ecdhCurves.0"),
        ("meshMTLS: {minProtocolVersion: TLSV1_2, cipherSuites: [AES128-SHA]}", "meshMTLS.cipherSuites"),
        ("hauberk: {tls: {profile: FIPS}}", "hauberk.tls.profile"),
        ("hauberk: {tls: {minimumVersion: 1.1}}", "hauberk.tls.minimumVersion"),
    ],
)
def test_what_contradicts_itself_or_is_unknown_is_refused(text: str, at: str) -> None:
    config, _ = parse_mesh_config(text)
    assert config is None
    assert ("HBK0106", at) in [(code, where.removeprefix("data.mesh.")) for code, where in found(text)]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("meshMTLS: {cipherSuites: [ECDHE-ECDSA-AES128-GCM-SHA256]}", "meshMTLS.cipherSuites"),
        (
            "meshMTLS: {minProtocolVersion: TLSV1_2, cipherSuites: [AES256-GCM-SHA384, ECDHE-ECDSA-AES128-GCM-SHA256]}",
            "meshMTLS.cipherSuites.0",
        ),
    ],
)
def test_suites_without_effect_are_named_in_a_warning(text: str, at: str) -> None:
    config, _ = parse_mesh_config(text)
    assert config is not None
    assert found(text) == [("HBK0402", at)]
