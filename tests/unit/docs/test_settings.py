"""Every setting of the environment is in the documentation."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from hauberk.agent.settings import AgentSettings

TOP = Path(__file__).resolve().parents[3]
# Between our own processes, or of the shell; nobody sets them.
INTERNAL = {"HAUBERK_INIT", "HAUBERK_COMPLETE", "HAUBERK_AGENT", "HAUBERK_CA", "HAUBERK_CA_FORMER", "HAUBERK_AGENT_SOME_NAME"}
# Names that the code puts together.
COMPOSED = {f"HAUBERK_CA_FORMER_{name}" for name in ("PASSPHRASE_FILE", "KEY_FILE", "TOKEN")} | {
    f"HAUBERK_AGENT_{field.name.upper()}" for field in fields(AgentSettings)
}
NAME = re.compile(r"HAUBERK_[A-Z]+(?:_[A-Z]+)*")


def names_in(*roots: Path, suffix: str) -> set[str]:
    files = (path for root in roots for path in root.rglob(f"*{suffix}") if "_build" not in path.parts)
    return {name for path in files for name in NAME.findall(path.read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def documented() -> set[str]:
    return names_in(TOP / "docs", suffix=".md") | set(NAME.findall((TOP / "README.md").read_text(encoding="utf-8")))


def test_every_setting_is_documented(documented: set[str]) -> None:
    assert sorted((names_in(TOP / "src", suffix=".py") | COMPOSED) - INTERNAL - documented) == []


def test_nothing_is_documented_that_is_no_setting(documented: set[str]) -> None:
    known = names_in(TOP / "src", TOP / "bench", TOP / "tests" / "e2e", suffix=".py") | COMPOSED
    assert sorted(documented - known) == []
