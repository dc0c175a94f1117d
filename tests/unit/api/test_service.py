"""Service: defaults, and mistakes with their places."""

from collections.abc import Callable

from hauberk.api.service import Service, ServicePort, ServiceSpec

Told = Callable[[str], list[tuple[str, str]]]
HEAD = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"


def test_the_target_port_is_the_port_unless_given() -> None:
    assert ServicePort(port=80).target_port == 80
    assert ServicePort(port=80, target_port="http").target_port == "http"


def test_a_service_without_an_address_of_its_own_is_headless() -> None:
    service = Service.model_validate({"metadata": {"name": "db"}, "spec": {"clusterIP": "None"}})
    assert service.headless
    assert not Service(metadata=service.metadata, spec=ServiceSpec()).headless


def test_a_right_service_has_no_problem(told: Told) -> None:
    ports = "[{name: http, port: 80, targetPort: web, appProtocol: http}, {name: dns, port: 53, protocol: UDP}]"
    assert told(HEAD + f"spec: {{selector: {{app: web}}, clusterIP: 10.96.0.9, ipFamilies: [IPv4, IPv6], ports: {ports}}}") == []


def test_a_service_needs_a_port_unless_it_is_headless(told: Told) -> None:
    assert told(HEAD) == [("HBK0105", "spec.ports")]
    assert told(HEAD + "spec: {clusterIP: None}") == []


def test_several_ports_need_names_of_their_own(told: Told) -> None:
    text = "spec: {ports: [{port: 80}, {port: 81, name: a}, {port: 82, name: a}, {port: 82, name: b}]}"
    assert told(HEAD + text) == [("HBK0105", "spec.ports[0]"), ("HBK0112", "spec.ports[2].name"), ("HBK0112", "spec.ports[3].port")]


def test_ports_are_numbers_from_1_to_65535_or_names(told: Told) -> None:
    text = "spec: {ports: [{port: 0}, {port: 65536, name: a}, {port: '80', name: b}]}"
    assert told(HEAD + text) == [("HBK0107", "spec.ports[0].port"), ("HBK0107", "spec.ports[1].port"), ("HBK0104", "spec.ports[2].port")]
    text = "spec: {ports: [{port: 1, name: a, targetPort: 70000}, {port: 2, name: b, targetPort: '80'}, {port: 3, name: A}]}"
    assert told(HEAD + text) == [
        ("HBK0107", "spec.ports[0].targetPort"),
        ("HBK0108", "spec.ports[1].targetPort"),
        ("HBK0108", "spec.ports[2].name"),
    ]


def test_what_reaches_in_from_outside_is_named_in_a_warning(told: Told) -> None:
    text = "spec: {type: NodePort, externalIPs: [1.2.3.4], sessionAffinity: ClientIP, ports: [{port: 80, nodePort: 30000}]}"
    assert sorted(told(HEAD + text)) == [
        ("HBK0202", "spec.externalIPs"),
        ("HBK0202", "spec.ports[0].nodePort"),
        ("HBK0202", "spec.sessionAffinity"),
        ("HBK0202", "spec.type"),
    ]


def test_another_name_for_a_service_elsewhere_is_refused(told: Told) -> None:
    assert ("HBK0106", "spec.type") in told(HEAD + "spec: {type: ExternalName, externalName: example.org}")


def test_an_address_must_be_one(told: Told) -> None:
    assert told(HEAD + "spec: {clusterIP: web, ports: [{port: 80}]}") == [("HBK0110", "spec.clusterIP")]
