"""PeerAuthentication: modes, and mistakes with their places."""

from collections.abc import Callable

from hauberk.api.manifest import parse_manifest
from hauberk.api.peer_authentication import Mtls, MtlsMode, PeerAuthentication

Told = Callable[[str], list[tuple[str, str]]]
HEAD = "apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: istio-system}\n"


def test_modes_of_ports_are_keyed_by_number() -> None:
    text = HEAD + "spec: {selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}, 81: }}"
    (found,) = parse_manifest(text, "pa.yaml").objects
    assert isinstance(found, PeerAuthentication)
    assert found.spec.mtls.mode is MtlsMode.STRICT
    assert found.spec.port_level_mtls == {8080: Mtls(mode=MtlsMode.DISABLE), 81: Mtls()}


def test_an_absent_mode_is_unset() -> None:
    (found,) = parse_manifest(HEAD + "spec: {mtls: {}}", "pa.yaml").objects
    assert isinstance(found, PeerAuthentication)
    assert found.spec.mtls.mode is MtlsMode.UNSET


def test_modes_of_ports_need_a_selector(told: Told) -> None:
    assert told(HEAD + "spec: {portLevelMtls: {8080: {mode: STRICT}}}") == [("HBK0310", "spec.portLevelMtls")]


def test_ports_are_numbers_in_range(told: Told) -> None:
    selector = "selector: {matchLabels: {a: b}}"
    assert told(HEAD + f"spec: {{{selector}, portLevelMtls: {{70000: {{}}}}}}") == [("HBK0107", "spec.portLevelMtls.70000")]
    assert told(HEAD + f"spec: {{{selector}, portLevelMtls: {{http: {{}}}}}}") == [("HBK0104", "spec.portLevelMtls.http")]


def test_a_mode_that_does_not_exist_is_a_mistake(told: Told) -> None:
    assert told(HEAD + "spec: {mtls: {mode: strict}}") == [("HBK0106", "spec.mtls.mode")]


def test_there_is_no_dry_run(told: Told) -> None:
    text = HEAD.replace("name: default", "name: default, annotations: {istio.io/dry-run: 'false'}")
    assert told(text) == [("HBK0308", "metadata.annotations['istio.io/dry-run']")]
