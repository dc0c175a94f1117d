"""`hauberk ca federate` and `ca bundle`: what is asked of the mesh for what was typed, and what is said of the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hauberk.cli import connection, main
from hauberk.cli.failure import Exit

ROW = {
    "trustDomain": "b.td",
    "profile": "https_web",
    "sequence": 7,
    "refreshHintSeconds": 300,
    "x509Authorities": [{"subject": "O=B", "serial": "1", "notAfter": "2027-01-01T00:00:00+00:00"}],
    "jwtKeys": [],
    "ignored": [],
    "fetchedAt": "2026-03-01T12:00:00+00:00",
}


class FakeMesh:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.answer: tuple[int, Any] = (200, ROW)

    def api(self, method: str, path: str, body: Any = None, **_: Any) -> Any:
        self.asked.append((method, path, body))
        if path.startswith("/v1/ca/bundle"):
            return {"keys": []} if path.endswith("spiffe") else "-----BEGIN CERTIFICATE-----\n"
        own = {"trustDomain": "a.td", "aliases": [], "sequence": 1, "endpoints": []}
        return {"own": own, "items": [ROW]} if method == "GET" else {}

    def api_answer(self, method: str, path: str, body: Any = None, **_: Any) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        return self.answer


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> FakeMesh:
    made = FakeMesh()
    monkeypatch.setattr(connection, "mesh", lambda: made)
    return made


def test_a_bundle_is_a_url_a_file_or_both(mesh: FakeMesh, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "b.json"
    file.write_text('{"keys": []}')
    for given, url, text in (
        (("https://b/",), "https://b/", None),
        ((str(file),), "", '{"keys": []}'),
        ((str(file), "https://b/"), "https://b/", '{"keys": []}'),
    ):
        words = [word for each in given for word in ("--bundle", each)]
        assert main.main(["ca", "federate", "b.td", *words]) == Exit.DONE
        _, _, body = mesh.asked[-1]
        assert (body["url"], body["bundle"]) == (url, text)
    assert "trust domain b.td is federated: 1 authorities, 0 JWT keys" in capsys.readouterr().out


def test_a_refused_file_is_named(mesh: FakeMesh, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.json").write_text("{}")
    problem = {"severity": "error", "message": "the bundle file: it has no list `keys`", "remedy": "get a whole one"}
    mesh.answer = (422, {"problems": [problem]})
    assert main.main(["ca", "federate", "b.td", "--bundle", str(tmp_path / "b.json")]) == Exit.FAILED
    assert f"error: {tmp_path}/b.json: it has no list `keys`\n   do: get a whole one" in capsys.readouterr().err


def test_what_ignored_and_what_failed_is_told(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    mesh.answer = (200, {**ROW, "x509Authorities": [], "ignored": ["keys[0]: its use 'later'"], "problem": "nobody there\x1b[2J"})
    assert main.main(["ca", "federate", "b.td", "--bundle", "https://b/"]) == Exit.DONE
    told = capsys.readouterr().err
    assert "ignored keys[0]" in told
    assert "gave no newer bundle: nobody there" in told
    assert "\x1b" not in told
    assert "every member of it is refused" in told


def test_without_arguments_all_are_shown(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["ca", "federate"]) == Exit.DONE
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1].split() == ["b.td", "https_web", "7", "1", "0", "2026-03-01T12:00:00+00:00", "-"]
    assert "HAUBERK_BUNDLE_LISTEN" in shown.err


@pytest.mark.parametrize(
    "words",
    [
        ["--bundle", "https://b/"],
        ["b.td"],
        ["b.td", "--remove", "--bundle", "https://b/"],
        ["b.td", "--bundle", "https://b/", "--bundle", "https://c/"],
        ["b.td", "--bundle", "/no/such/file"],
        ["b.td", "--bundle", "https://b/", "--profile", "http"],
    ],
)
def test_wrong_usage_asks_nothing(mesh: FakeMesh, words: list[str]) -> None:
    assert main.main(["ca", "federate", *words]) == Exit.USAGE
    assert mesh.asked == []


def test_a_domain_is_removed(mesh: FakeMesh) -> None:
    assert main.main(["ca", "federate", "b.td", "--remove"]) == Exit.DONE
    assert mesh.asked == [("DELETE", "/v1/ca/federation", {"trustDomain": "b.td"})]


def test_the_bundle_is_printed_in_either_form(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["ca", "bundle"]) == Exit.DONE
    assert capsys.readouterr().out == '{\n "keys": []\n}\n'
    assert main.main(["ca", "bundle", "--pem"]) == Exit.DONE
    assert capsys.readouterr().out == "-----BEGIN CERTIFICATE-----\n"
