"""docs/guides/add-a-kind.md: its module, its line and its tests, run as they stand there."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from hauberk.api import kinds
from hauberk.api.document import from_document, to_document
from hauberk.api.manifest import Manifest, parse_manifest

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "add-a-kind.md"
Parse = Callable[[str], Manifest]


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)


@pytest.fixture
def quota(blocks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    module, line, _ = blocks
    made = ModuleType("hauberk.api.quota")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    exec(compile(module, str(GUIDE), "exec"), made.__dict__)
    kind = eval(line.strip().rstrip(","), {"Kind": kinds.Kind})
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, kind))


@pytest.mark.usefixtures("quota")
def test_the_guide_adds_a_kind_and_its_tests_pass(blocks: list[str]) -> None:
    names: dict[str, object] = {"Parse": Parse, "from_document": from_document, "to_document": to_document}
    exec(compile(blocks[2], str(GUIDE), "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_") and callable(value)]
    assert len(tests) == 3
    for test in tests:
        test(lambda text: parse_manifest(text, "quota.yaml"))


@pytest.mark.usefixtures("quota")
def test_the_new_kind_is_found_by_every_word_for_it() -> None:
    assert [found.name for word in ("quotas", "qt", "Quota") if (found := kinds.kind_called(word))] == ["Quota"] * 3
