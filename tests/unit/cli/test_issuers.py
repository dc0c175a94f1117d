"""How it stands with the keys of issuers, told."""

from __future__ import annotations

from typing import Any

from hauberk.cli.issuers import lines, troubles


def authentication(*rules: dict[str, str]) -> dict[str, Any]:
    return {"kind": "RequestAuthentication", "metadata": {"namespace": "shop", "name": "users"}, "spec": {"jwtRules": list(rules)}}


def source(uri: str, index: int, **fields: Any) -> dict[str, Any]:
    return {
        "jwksUri": uri,
        "keys": [],
        "usedBy": [{"object": "RequestAuthentication/shop/users", "path": f"spec.jwtRules[{index}]"}],
        **fields,
    }


def test_every_rule_says_whether_there_are_keys() -> None:
    rules = [
        {"issuer": "https://in", "jwks": "{}"},
        {"issuer": "https://good"},
        {"issuer": "https://old"},
        {"issuer": "https://bad"},
        {"jwksUri": "https://new"},
    ]
    known = [
        source("https://g", 1, keys=["a"], fetchedAt="2026-01-01T00:00:00+00:00", leftOut=["a key is a shared secret"]),
        source("https://o", 2, keys=["a", "b"], fetchedAt="2026-01-01T00:00:00+00:00", problem="gone"),
        source("https://b", 3, problem="nobody\nthere"),
    ]
    title, inline, good, old, bad, new = lines(authentication(*rules), known)
    assert title == "Issuers:"
    assert inline == "  https://in: its keys are in the rule"
    assert good.startswith("  https://good: 1 key, fetched ")
    assert good.endswith("left out: a key is a shared secret")
    assert "2 keys" in old
    assert old.endswith("and no newer ones: gone")
    assert "NO KEYS, every token of it is refused: nobody" in bad
    assert "\n" not in bad
    assert new.startswith("  any issuer: its keys have not been fetched yet")


def test_the_whole_mesh_is_told_of_trouble_only() -> None:
    known = [source("https://g", 1, keys=["a"], fetchedAt="2026-01-01T00:00:00+00:00"), source("https://b", 3, problem="gone")]
    (told,) = troubles(known)
    assert told == "issuer https://b (of RequestAuthentication/shop/users): NO KEYS, every token of it is refused: gone"
