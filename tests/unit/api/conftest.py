"""What the tests of kinds share: a text goes in, codes and paths of its problems come out."""

from collections.abc import Callable

import pytest

from hauberk.api.manifest import parse_manifest

Told = Callable[[str], list[tuple[str, str]]]


@pytest.fixture
def told() -> Told:
    """(code, path) of every problem of a text, except infos."""

    def tell(text: str) -> list[tuple[str, str]]:
        problems = parse_manifest(text, "test.yaml").problems
        return [(each.code, each.path) for each in problems if each.severity != "info"]

    return tell
