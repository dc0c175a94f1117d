from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import pytest

from hauberk.api.metadata import Metadata
from hauberk.api.service import Service, ServicePort, ServiceSpec
from hauberk.apiserver.service_addresses import AddressFixed, AddressRefused, Allocation, Ranges


def service(name: str = "web", **spec: Any) -> Service:
    return Service(metadata=Metadata(name=name, namespace="shop"), spec=ServiceSpec(ports=(ServicePort(port=80),), **spec))


def place(wanted: Service, *others: Service, present: Service | None = None, ranges: Ranges | None = None) -> ServiceSpec:
    return Allocation.of(ranges or Ranges(), others).place(wanted, present).spec


def test_a_service_gets_an_address_of_each_family() -> None:
    spec = place(service())
    first, second = (ip_address(text) for text in spec.cluster_ips)
    assert first in IPv4Network("10.96.0.0/16")
    assert second in IPv6Network("fd00:10:96::/112")
    assert (spec.cluster_ip, spec.ip_families) == (str(first), ("IPv4", "IPv6"))


def test_the_same_name_gets_the_same_addresses_in_every_mesh() -> None:
    assert place(service()) == place(service(), place_of("other"))


def place_of(name: str) -> Service:
    return service(name).model_copy(update={"spec": place(service(name))})


def test_an_address_that_is_taken_is_not_given_again() -> None:
    taken = service("other", cluster_ip=place(service()).cluster_ip)
    spec = place(service(), taken)
    assert spec.cluster_ip != taken.spec.cluster_ip


def test_all_addresses_of_a_small_range_are_used_and_then_none_is_left() -> None:
    ranges = Ranges(IPv4Network("10.96.0.0/27"), IPv6Network("fd00:10:96::/123"))
    allocation = Allocation.of(ranges, ())
    given = [allocation.place(service(f"s{number}"), None).spec.cluster_ip for number in range(15)]
    assert len(set(given)) == 15
    with pytest.raises(AddressRefused, match="are taken"):
        allocation.place(service("one-more"), None)


def test_a_service_may_ask_for_an_address() -> None:
    spec = place(service(cluster_ip="10.96.0.10"))
    assert spec.cluster_ips[0] == "10.96.0.10"
    assert len(spec.cluster_ips) == 2


def test_an_address_of_another_service_is_refused() -> None:
    with pytest.raises(AddressRefused, match="is the address of Service shop/other"):
        place(service(cluster_ip="10.96.0.10"), service("other", cluster_ip="10.96.0.10"))


def test_an_address_outside_of_the_range_is_refused() -> None:
    with pytest.raises(AddressRefused, match=r"outside of 10\.96\.0\.0/16"):
        place(service(cluster_ip="192.168.0.1"))


def test_a_headless_service_gets_none() -> None:
    spec = place(service(cluster_ip="None"))
    assert (spec.cluster_ip, spec.cluster_ips) == ("None", ("None",))


@pytest.mark.parametrize(
    ("asked", "families"),
    [
        ({"ip_family_policy": "SingleStack"}, ("IPv4",)),
        ({"ip_families": ("IPv6",)}, ("IPv6",)),
        ({"ip_families": ("IPv6",), "ip_family_policy": "PreferDualStack"}, ("IPv6", "IPv4")),
        ({"ip_family_policy": "RequireDualStack"}, ("IPv4", "IPv6")),
        ({"cluster_ip": "fd00:10:96::a"}, ("IPv6", "IPv4")),
    ],
)
def test_families_are_those_asked_for(asked: dict[str, Any], families: tuple[str, ...]) -> None:
    spec = place(service(**asked))
    assert spec.ip_families == families
    assert tuple("IPv6" if ":" in text else "IPv4" for text in spec.cluster_ips) == families


def test_a_service_keeps_its_addresses_when_its_document_names_none() -> None:
    present = place_of("web")
    assert place(service(), present, present=present).cluster_ips == present.spec.cluster_ips


@pytest.mark.parametrize("named", ["10.96.0.99", "None"])
def test_a_service_cannot_change_its_address(named: str) -> None:
    present = place_of("web")
    with pytest.raises(AddressFixed):
        place(service(cluster_ip=named), present, present=present)


def test_a_headless_service_stays_headless() -> None:
    present = service(cluster_ip="None").model_copy(update={"spec": place(service(cluster_ip="None"))})
    assert place(service(), present=present).cluster_ip == "None"
    with pytest.raises(AddressFixed):
        place(service(cluster_ip="10.96.0.99"), present=present)
