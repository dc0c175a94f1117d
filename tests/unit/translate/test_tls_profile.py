"""What each profile lets the two sides agree on."""

from __future__ import annotations

import pytest
from envoy.extensions.transport_sockets.tls.v3 import common_pb2

from hauberk.api.mesh_config import parse_mesh_config
from hauberk.api.mesh_tls import HYBRID
from hauberk.translate.tls import CERTIFICATE, CERTIFICATE_NEWEST, certificate_name
from hauberk.translate.tls_profile import TlsProfile, build_profile, tls_parameters

Parameters = common_pb2.TlsParameters
Protocol = Parameters.TlsProtocol


def profile(text: str) -> TlsProfile:
    config, findings = parse_mesh_config(text)
    assert config is not None, findings
    return build_profile(config)


def test_by_default_there_is_nothing_but_1_3_and_the_hybrid_group_comes_first() -> None:
    made = tls_parameters(profile(""))
    assert (made.tls_minimum_protocol_version, made.tls_maximum_protocol_version) == (Protocol.TLSv1_3, Protocol.TLSv1_3)
    assert made.ecdh_curves[0] == HYBRID
    assert not made.compliance_policies


def test_post_quantum_has_nothing_but_hybrid_groups() -> None:
    assert profile("hauberk: {tls: {profile: post-quantum}}").groups == (HYBRID,)


def test_fips_has_approved_groups_suites_and_the_policy_and_its_certificate_refuses_1_2() -> None:
    found = profile("hauberk: {tls: {profile: fips}}")
    made = tls_parameters(found)
    assert list(made.ecdh_curves) == ["P-256", "P-384"]
    assert list(made.compliance_policies) == [Parameters.CompliancePolicy.FIPS_202205]
    assert certificate_name(found) == CERTIFICATE_NEWEST


def test_fips_with_1_2_has_suites_of_aes_only() -> None:
    found = profile("hauberk: {tls: {profile: fips, minimumVersion: 1.2}}")
    assert all("AES" in suite for suite in tls_parameters(found).cipher_suites)
    assert certificate_name(found) == CERTIFICATE


@pytest.mark.parametrize("one", ["default", "post-quantum", "fips"])
@pytest.mark.parametrize("other", ["default", "post-quantum", "fips"])
def test_any_two_profiles_but_the_two_strict_ones_share_a_group(one: str, other: str) -> None:
    groups = [set(profile(f"hauberk: {{tls: {{profile: {name}}}}}").groups) for name in (one, other)]
    assert bool(groups[0] & groups[1]) is ({one, other} != {"post-quantum", "fips"})


def test_istios_settings_of_curves_and_suites_mean_the_same() -> None:
    found = profile("meshMTLS: {minProtocolVersion: TLSV1_2, ecdhCurves: [P-384, X25519], cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]}")
    made = tls_parameters(found)
    assert made.tls_minimum_protocol_version == Protocol.TLSv1_2
    assert list(made.ecdh_curves) == ["P-384", "X25519"]
    assert list(made.cipher_suites) == ["ECDHE-RSA-AES128-GCM-SHA256"]
