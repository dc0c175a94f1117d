"""What `up` tells init arrives."""

from hauberk.local.order import PARTS, Order


def test_an_order_survives_the_environment() -> None:
    order = Order(mesh="second", rootless=True, lock=3, report=4, lifeline=5)
    assert Order.decode(order.encode()) == order


def test_the_agent_ends_before_the_control_plane() -> None:
    assert PARTS == ("agent", "control-plane")
