"""`hauberk ca rotate`: what is said of a new issuing key."""

from __future__ import annotations

from typing import Any

import pytest

from hauberk.cli import connection, main
from hauberk.cli.failure import Exit


class FakeMesh:
    """A mesh whose new issuing key is in a slot that a test sets."""

    slot = "active"

    def api(self, method: str, path: str, _body: Any = None, **_: Any) -> Any:
        assert (method, path) == ("POST", "/v1/ca/rotate")
        return {"authority": "issuing-1", "slot": self.slot}


@pytest.mark.parametrize(("slot", "told"), [("active", "signs from now on"), ("prepared", "signs as soon as every proxy has its")])
def test_a_new_issuing_key_is_not_said_to_sign_before_it_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], slot: str, told: str
) -> None:
    mesh = FakeMesh()
    mesh.slot = slot
    monkeypatch.setattr(connection, "mesh", lambda: mesh)
    assert main.main(["ca", "rotate"]) == Exit.DONE
    assert told in capsys.readouterr().out
