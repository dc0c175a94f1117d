from __future__ import annotations

import pytest

from hauberk.policy.trust_domains import TrustDomains

RENAMED = TrustDomains("new.example", ("old.example",), ("b.example",))


@pytest.mark.parametrize(
    ("principal", "expected"),
    [
        ("old.example/ns/a/sa/b", ["new.example/ns/a/sa/b", "old.example/ns/a/sa/b"]),
        ("new.example/ns/a/*", ["new.example/ns/a/*", "old.example/ns/a/*"]),
        ("cluster.local/ns/a/sa/b", ["new.example/ns/a/sa/b", "old.example/ns/a/sa/b"]),
        ("*.example/ns/a/sa/b", ["*.example/ns/a/sa/b"]),
        ("*old.example/ns/a/sa/b", ["new.example/ns/a/sa/b", "*old.example/ns/a/sa/b"]),
        *((same, [same]) for same in ("*", "*/ns/a/sa/b", "*/sa/b", "b.example/ns/a/sa/b", "old.example", "xold.example/ns/a/sa/b")),
    ],
)
def test_a_principal_means_every_name_of_the_mesh_and_foreign_ones_mean_themselves(principal: str, expected: list[str]) -> None:
    assert list(RENAMED.expand(principal)) == expected


def test_names_and_accepted_domains_are_each_once_and_the_current_one_first() -> None:
    domains = TrustDomains("a", ("b", "a"), ("c", "b"))
    assert domains.names == ("a", "b")
    assert domains.accepted == ("a", "b", "c")
