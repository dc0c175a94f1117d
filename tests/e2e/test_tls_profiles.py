"""Profiles of TLS between two real sidecars: what is agreed on, what is refused, and that a change costs no request."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.e2e.envoy_rig import eventually, rig
from tests.e2e.envoy_rig_mesh import CLIENT, VIP, Mesh
from tests.e2e.envoy_rig_programs import converse
from tests.e2e.forged import Certified, answered, context, leaf

from hauberk.api.config_map import ConfigMap

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the rig makes network namespaces itself")

HYBRID = "X25519MLKEM768"


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with rig() as made:
        yield Mesh(made)


def settings(text: str) -> ConfigMap:
    return ConfigMap.model_validate({"metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": text}})


def profile(name: str) -> ConfigMap:
    return settings(f"hauberk: {{tls: {{profile: {name}}}}}")


def agreed(mesh: Mesh) -> dict[str, Any]:
    """The record of a new connection between the two sidecars."""
    before = len(mesh.web.records())
    assert converse(mesh.client.connect(VIP, 84)) == b"welcome\nheard hello"
    return eventually(lambda: [record for record in mesh.web.records()[before:] if record["k"] == "t"])[0]


def outsider(mesh: Mesh, change: Callable[[ssl.SSLContext], None], newest: ssl.TLSVersion | None = None) -> bool:
    """Whether a caller with a certificate of the mesh gets an answer, `change` having chosen what it offers."""
    authority = mesh.rig.authority
    tls = context(False, leaf(Certified(authority._root, authority._key), CLIENT), newest)
    change(tls)
    return answered(mesh.outside.connect(mesh.web.addresses[0], 8080), tls).startswith(b"HTTP/1.1 200")


def suites(names: str) -> Callable[[ssl.SSLContext], None]:
    return lambda tls: tls.set_ciphers(names)


def curve(name: str) -> Callable[[ssl.SSLContext], None]:
    return lambda tls: tls.set_ecdh_curve(name)


def anything(_: ssl.SSLContext) -> None:
    pass


def test_by_default_sidecars_agree_on_1_3_and_the_hybrid_group(mesh: Mesh) -> None:
    record = agreed(mesh)
    assert (record["tv"], record["tg"]) == ("TLSv1.3", HYBRID)
    assert outsider(mesh, curve("prime256v1"))
    assert not outsider(mesh, anything, ssl.TLSVersion.TLSv1_2)


def test_post_quantum_refuses_whoever_offers_classical_groups_only(mesh: Mesh) -> None:
    with mesh.having(profile("post-quantum")):
        assert agreed(mesh)["tg"] == HYBRID
        before = len(mesh.connections)
        assert not outsider(mesh, anything)
        assert len(mesh.connections) == before


def test_fips_agrees_on_approved_algorithms_only(mesh: Mesh) -> None:
    with mesh.having(profile("fips")):
        record = agreed(mesh)
        assert (record["tv"], record["tg"]) == ("TLSv1.3", "P-256")
        assert record["tc"] in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384")
        assert outsider(mesh, curve("secp384r1"))
        assert not outsider(mesh, curve("X25519"))
        assert not outsider(mesh, anything, ssl.TLSVersion.TLSv1_2)


def test_1_2_is_taken_where_it_is_asked_for_and_only_with_suites_that_were_chosen(mesh: Mesh) -> None:
    for text in (
        "meshMTLS: {minProtocolVersion: TLSV1_2, cipherSuites: [ECDHE-ECDSA-AES128-GCM-SHA256]}",
        "hauberk: {tls: {profile: fips, minimumVersion: 1.2}}",
    ):
        with mesh.having(settings(text)):
            assert agreed(mesh)["tv"] == "TLSv1.3"
            assert outsider(mesh, suites("ECDHE-ECDSA-AES128-GCM-SHA256"), ssl.TLSVersion.TLSv1_2)
            assert not outsider(mesh, suites("ECDHE-ECDSA-CHACHA20-POLY1305"), ssl.TLSVersion.TLSv1_2)
            assert not outsider(mesh, suites("DEFAULT:@SECLEVEL=0"), ssl.TLSVersion.TLSv1_1)


def test_istios_curves_are_offered_in_their_order(mesh: Mesh) -> None:
    with mesh.having(settings("meshMTLS: {ecdhCurves: [P-384, X25519]}")):
        assert agreed(mesh)["tg"] == "P-384"


@contextmanager
def calling(mesh: Mesh) -> Iterator[list[object]]:
    """Requests on kept connections and connections made anew, for the time of the block; what came of each."""
    done, outcomes = threading.Event(), list[object]()

    def requests() -> None:
        while not done.is_set():
            outcomes.append(mesh.client.request(VIP, 80, host="web").status)

    def connections() -> None:
        while not done.is_set():
            outcomes.append(converse(mesh.client.connect(VIP, 84)))

    workers = [threading.Thread(target=work) for work in (requests, requests, connections, connections)]
    for worker in workers:
        worker.start()
    try:
        yield outcomes
    finally:
        done.set()
        for worker in workers:
            worker.join()


def test_a_change_between_profiles_that_share_something_costs_nothing(mesh: Mesh) -> None:
    with calling(mesh) as outcomes:
        for name in ("post-quantum", "fips"):
            for object_ in (profile(name), profile("default")):
                before = len(outcomes)
                mesh.rig.apply(object_)
                eventually(lambda before=before: len(outcomes) > before + 20)  # type: ignore[misc]  # a default binds the loop's variable
    mesh.rig.delete(profile("default"))
    assert len(outcomes) > 80
    assert set(outcomes) == {200, b"welcome\nheard hello"}


@pytest.mark.parametrize("name", ["post-quantum", "fips"])
@pytest.mark.parametrize("first", ["client", "web"])
def test_while_a_change_has_reached_one_sidecar_only_both_still_agree(mesh: Mesh, name: str, first: str) -> None:
    pod = mesh.web if first == "client" else mesh.client
    kept = pod.server
    pod.server = None  # it is not told
    try:
        with mesh.having(profile(name)):
            assert agreed(mesh)["tv"] == "TLSv1.3"
    finally:
        pod.server = kept
        mesh.rig.push()


def test_between_two_profiles_that_share_nothing_connections_fail_and_nothing_goes_in_plain(mesh: Mesh) -> None:
    with mesh.having(profile("post-quantum")):
        kept, mesh.web.server = mesh.web.server, None
        try:
            with mesh.having(profile("fips")):
                before = len(mesh.connections)
                assert converse(mesh.client.connect(VIP, 84)) in (b"", b"<reset>")
                assert len(mesh.connections) == before
        finally:
            mesh.web.server = kept
            mesh.rig.push()
