"""The mesh's settings: typed where they act, named in a warning where they do not."""

from collections.abc import Callable
from datetime import timedelta
from textwrap import indent

from hauberk.api.config_map import ConfigMap
from hauberk.api.manifest import parse_manifest
from hauberk.api.mesh_config import MeshConfig, ProxyConfig, mesh_config_of, parse_mesh_config
from hauberk.api.sift import nested_fields

Told = Callable[[str], list[tuple[str, str]]]


def config_map(text: str) -> str:
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n"
    return head + indent(text, "    ")


def test_settings_that_act_are_typed() -> None:
    text = """
    trustDomain: example.org
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
    pathNormalization: {normalization: MERGE_SLASHES}
    connectTimeout: 2s
    hauberk: {certificateLifetime: 90s}
    """
    config, findings = parse_mesh_config(text)
    assert config and not findings
    assert config.trust_domain == "example.org"
    assert config.outbound_traffic_policy.mode == "REGISTRY_ONLY"
    assert config.connect_timeout == timedelta(seconds=2)
    assert config.hauberk.certificate_lifetime == timedelta(seconds=90)


def test_aliases_of_the_trust_domain_are_names_each() -> None:
    config, findings = parse_mesh_config("trustDomain: new.example\ntrustDomainAliases: [old.example, older.example]\n")
    assert config and not findings
    assert config.trust_domain_aliases == ("old.example", "older.example")
    config, findings = parse_mesh_config("trustDomainAliases: [good.example, 'Spiffe://x']\n")
    assert config is None
    assert [(each.code, each.at[-1]) for each in findings] == [("HBK0108", 1)]


def test_no_settings_are_the_defaults() -> None:
    assert parse_mesh_config("") == (MeshConfig(), ())
    assert mesh_config_of(None) == MeshConfig()


def test_a_known_setting_without_effect_is_a_warning_at_its_line() -> None:
    manifest = parse_manifest(config_map("trustDomain: a.b\naccessLogFile: /dev/stdout\ndefaultConfig:\n  concurrency: 2\n"), "mesh.yaml")
    assert [(each.code, each.severity, each.line) for each in manifest.problems] == [("HBK0402", "warning", 7), ("HBK0402", "warning", 9)]
    assert len(manifest.objects) == 1


def test_an_unknown_setting_is_refused_at_its_line_with_the_near_name() -> None:
    (problem,) = parse_manifest(config_map("\ntrustDomian: a.b\n"), "mesh.yaml").problems
    assert (problem.code, problem.path, problem.line) == ("HBK0103", "data.mesh", 7)
    assert problem.remedy == "did you mean trustDomain?"


def test_text_that_is_no_yaml_is_refused(told: Told) -> None:
    assert told(config_map("a: b: c\n")) == [("HBK0401", "data.mesh")]
    assert told(config_map("- a\n")) == [("HBK0401", "data.mesh")]


def test_wrong_values_are_refused(told: Told) -> None:
    for text, code in (
        ("trustDomain: 'A B'", "HBK0108"),
        ("connectTimeout: 5", "HBK0104"),
        ("connectTimeout: soon", "HBK0110"),
        ("outboundTrafficPolicy: {mode: NONE}", "HBK0106"),
        ("hauberk: {certificateLifetime: 1ms}", "HBK0107"),
        ("hauberk: {certificateLife: 1h}", "HBK0103"),
    ):
        assert told(config_map(text)) == [(code, "data.mesh")], text


def test_settings_that_would_have_no_effect_with_this_value_are_warned_of(told: Told) -> None:
    assert told(config_map("rootNamespace: other\nenableAutoMtls: false\n")) == [("HBK0402", "data.mesh")] * 2


def test_other_config_maps_are_not_read(told: Told) -> None:
    assert told(config_map("a: b: c\n").replace("name: istio,", "name: other,")) == []


def test_a_stored_text_that_cannot_be_read_leaves_the_defaults() -> None:
    broken = ConfigMap.model_validate({"metadata": {"name": "istio"}, "data": {"mesh": "a: b: c"}})
    assert mesh_config_of(broken) == MeshConfig()


def test_a_setting_is_either_typed_or_listed() -> None:
    for model in (MeshConfig, ProxyConfig):
        assert not set(nested_fields(model)) & (model.IGNORED | model.HARMLESS)
