"""Names of capabilities mean the kernel's numbers."""

import pytest

from hauberk.linux import capabilities


@pytest.mark.parametrize(
    ("name", "number"), [("CHOWN", 0), ("NET_ADMIN", 12), ("cap_sys_admin", 21), ("CAP_BPF", 39), ("CHECKPOINT_RESTORE", 40)]
)
def test_a_name_is_understood_as_kubernetes_and_as_the_manual_write_it(name: str, number: int) -> None:
    assert capabilities.parse((name,)) == {number}


def test_all_is_every_one() -> None:
    assert capabilities.parse(("ALL",)) == frozenset(range(41))


def test_an_unknown_name_is_refused_by_name() -> None:
    with pytest.raises(capabilities.UnknownCapability, match="'FLYING' is no capability") as caught:
        capabilities.parse(("CHOWN", "FLYING"))
    assert caught.value.hint
