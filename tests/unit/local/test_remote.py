"""The port for other machines: its own certificate, who is let in, and whose connections end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.citadel.rig import request
from tests.unit.local.remote_rig import served_port

from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.state import StateUnusable
from hauberk.identity.template import InvalidTemplate
from hauberk.local.remote_certificate import NotObtained


@pytest.mark.parametrize(
    "failure",
    [KeyUnreadable("pkcs11:token=x", "it is not there", "plug it in"), StateUnusable(Path("x"), "full", ""), InvalidTemplate("too late")],
)
async def test_a_certificate_that_cannot_be_had_now_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise failure

    with served_port(tmp_path, monkeypatch) as port:
        monkeypatch.setattr(port.citadel, "issuer", SimpleNamespace(issue_to=fail))
        with pytest.raises(NotObtained):
            await port.remote._ask(request().csr_der)
