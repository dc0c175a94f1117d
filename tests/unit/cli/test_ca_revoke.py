"""`hauberk ca revoke`: what is asked of the mesh for what was typed, and what is said of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hauberk.cli import connection, main
from hauberk.cli.ca_revoke import PATH
from hauberk.cli.failure import Exit

SERIAL = "9f3c5a7be2d84c10a6f15b2e8d7c4b90"
IDENTITY = "spiffe://cluster.local/ns/shop/sa/web"


class FakeMesh:
    """A mesh with the pods web-1 and web-2 of deployment web in namespace shop; answers what a test sets."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.pending: list[str] = []
        self.problem = ""

    def api(self, method: str, path: str, body: Any = None, **_: Any) -> Any:
        if path.startswith("/v1/objects/"):
            owner = {"ownerReferences": [{"kind": "Deployment", "name": "web"}]}
            return {"items": [{"metadata": {"name": name, **owner}, "status": {}} for name in ("web-1", "web-2")]}
        assert path == PATH
        self.asked.append((method, body))
        row = {"what": "pod", "name": "shop/web-1", "value": "u-1", "at": "2026-03-01T12:00:00+00:00", "by": "uid 0", "reason": "leaked"}
        done = {"revocation": row, "certificates": [], "pending": self.pending, "problem": self.problem}
        return {"items": [row, row | {"name": "shop/gone"}]} if method == "GET" else done


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> FakeMesh:
    made = FakeMesh()
    monkeypatch.setattr(connection, "mesh", lambda: made)
    return made


def asked(mesh: FakeMesh, *words: str) -> tuple[str, dict[str, Any]]:
    """What the mesh was asked, without what is always there."""
    assert main.main(["ca", "revoke", *words]) == Exit.DONE
    method, body = mesh.asked[-1]
    return method, {name: value for name, value in body.items() if name not in ("reason", "wait")}


def test_what_is_typed_is_a_pod_a_serial_or_an_identity(mesh: FakeMesh) -> None:
    assert asked(mesh, "web-1", "-n", "shop") == ("POST", {"pod": "shop/web-1"})
    assert asked(mesh, "web-1.shop") == ("POST", {"pod": "shop/web-1"})
    assert asked(mesh, SERIAL) == ("POST", {"serial": SERIAL})
    assert asked(mesh, IDENTITY) == ("POST", {"identity": IDENTITY})


def test_a_serial_may_be_written_as_openssl_does(mesh: FakeMesh) -> None:
    pairs = ":".join(SERIAL[at : at + 2] for at in range(0, len(SERIAL), 2)).upper()
    assert asked(mesh, pairs) == ("POST", {"serial": SERIAL})


def test_a_pod_that_has_ended_is_undone_by_its_name(mesh: FakeMesh) -> None:
    assert asked(mesh, "gone", "-n", "shop", "--undo") == ("DELETE", {"pod": "shop/gone"})


def test_the_one_pod_of_a_deployment_that_is_revoked_is_undone_by_the_deployments_name(mesh: FakeMesh) -> None:
    assert asked(mesh, "web", "-n", "shop", "--undo") == ("DELETE", {"pod": "shop/web-1"})


def test_several_pods_are_not_meant_by_one_word(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["ca", "revoke", "deploy/web", "-n", "shop"]) == Exit.USAGE
    told = capsys.readouterr().err
    assert "web-1, web-2" in told
    assert "name their identity" in told
    assert mesh.asked == []


@pytest.mark.parametrize("line", [[], ["web-1", "--list"]])
def test_one_thing_or_the_list(mesh: FakeMesh, line: list[str]) -> None:
    assert main.main(["ca", "revoke", *line]) == Exit.USAGE
    assert mesh.asked == []


def test_the_reason_goes_along(mesh: FakeMesh) -> None:
    asked(mesh, "web-1", "--reason", "key leaked")
    assert mesh.asked[-1][1]["reason"] == "key leaked"


def test_who_has_not_confirmed_is_named_and_the_command_times_out(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    mesh.pending = ["node n2: its agent is not connected"]
    assert main.main(["ca", "revoke", "web-1", "--wait", "1s"]) == Exit.TIMED_OUT
    out, err = capsys.readouterr()
    assert "pod shop/web-1 is revoked" in out
    assert "not confirmed within 1 s: node n2" in err
    assert main.main(["ca", "revoke", "web-1", "--wait", "0s"]) == Exit.DONE


def test_what_is_amiss_with_the_lists_is_told(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    mesh.problem = "there are no revocation lists"
    assert main.main(["ca", "revoke", "web-1"]) == Exit.DONE
    assert "warning: there are no revocation lists" in capsys.readouterr().err


def test_the_list_says_since_when_by_whom_and_why(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["ca", "revoke", "--list"]) == Exit.DONE
    assert capsys.readouterr().out.splitlines()[1].split() == ["pod", "shop/web-1", "2026-03-01T12:00:00+00:00", "uid", "0", "leaked"]


def test_json_is_the_answer_itself(mesh: FakeMesh, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["ca", "revoke", "web-1", "-o", "json"]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["revocation"]["value"] == "u-1"
