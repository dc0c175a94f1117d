"""What people ask of the authority over the API, and what is answered when it cannot be."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.apiserver.serving import Api, codes, serving
from tests.unit.citadel.rig import NOW, opened

from hauberk.citadel.state import State, StateUnusable
from hauberk.identity.csr import build_csr
from hauberk.local.ca_people import ServedAuthority
from hauberk.sources.store import Store

PATH = "/v1/ca/certificates"


class EveryAccount:
    """A store in which there is every ServiceAccount."""

    def find(self, *_: object) -> object:
        return object()


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    with opened(tmp_path) as citadel:
        async with serving(tmp_path, ca=ServedAuthority(cast("Store", EveryAccount()), citadel)) as served:
            yield served


def asked(**more: Any) -> dict[str, Any]:
    csr = build_csr(ec.generate_private_key(ec.SECP256R1()))
    return {"namespace": "shop", "serviceAccount": "batch", "csr": csr, **more}


@pytest.mark.parametrize(
    ("more", "life"),
    [
        ({}, timedelta(hours=24)),
        ({"lifetime": None}, timedelta(hours=24)),
        ({"lifetime": 60}, timedelta(minutes=1)),
        ({"lifetime": 10**9}, timedelta(days=7)),
    ],
)
async def test_a_certificate_lives_as_long_as_was_asked_and_a_week_at_most(api: Api, more: dict[str, Any], life: timedelta) -> None:
    status, issued = await api.request("POST", PATH, asked(**more))
    assert status == 200, issued
    assert datetime.fromisoformat(issued["notAfter"]).astimezone(UTC) - NOW == life


@pytest.mark.parametrize("lifetime", [0, -1, 10**15, -(10**15)])
async def test_a_life_that_is_none_is_refused(api: Api, lifetime: int) -> None:
    status, answer = await api.request("POST", PATH, asked(lifetime=lifetime))
    assert (status, codes(answer)) == (422, ["HBK0721"])
    assert "a certificate cannot live" in answer["problems"][0]["message"]


async def test_what_the_authority_cannot_keep_is_507_and_says_what_to_do(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StateUnusable(Path("citadel.db"), "the disk is full", "free some space")

    with monkeypatch.context() as patched:
        patched.setattr(State, "commit", full)
        for path, body in ((PATH, asked()), ("/v1/ca/rotate", {})):
            status, answer = await api.request("POST", path, body)
            assert (status, codes(answer), answer["problems"][0]["remedy"]) == (507, ["HBK0508"], "free some space")
    assert (await api.request("POST", PATH, asked()))[0] == 200
