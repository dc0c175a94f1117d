"""The import of an authority over the API: names of files go in, every fault comes out, and nobody asks in two ways at once."""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.unit.apiserver.serving import Api, codes, serving

from hauberk.apiserver.ca_import import PATH
from hauberk.apiserver.parts import ImportRefused
from hauberk.kit.unix_server import machine_uid


@dataclass(frozen=True)
class FakeFault:
    where: str
    reason: str
    remedy: str


class FakeImporter:
    """Takes what lies in /good and nothing else."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def import_ca(self, files: Mapping[str, str], *, dry_run: bool, by: str) -> Mapping[str, Any]:
        self.asked.append((dict(files), dry_run, by))
        if any(not path.startswith("/good") for path in files.values()):
            raise ImportRefused(
                422, [FakeFault("ca-cert.pem", "it has expired", "have it issued anew"), FakeFault("key", "wrong", "fix it")]
            )
        return {"result": "rotating"}

    def imported(self) -> Mapping[str, Any]:
        return {"authority": ""}


@pytest.fixture
def importer() -> FakeImporter:
    return FakeImporter()


@pytest_asyncio.fixture
async def api(tmp_path: Path, importer: FakeImporter) -> AsyncIterator[Api]:
    async with serving(tmp_path, importer=importer) as served:
        yield served


async def test_files_are_named_and_the_caller_is_who_the_kernel_says(api: Api, importer: FakeImporter) -> None:
    status, answer = await api.request("POST", PATH, {"directory": "/good", "dryRun": True})
    assert (status, answer) == (200, {"result": "rotating"})
    assert importer.asked == [({"directory": "/good"}, True, f"uid {machine_uid(os.getuid())}")]
    assert (await api.request("GET", PATH)) == (200, {"authority": ""})


async def test_every_fault_is_told_with_its_place_and_its_remedy(api: Api) -> None:
    status, answer = await api.request("POST", PATH, {"certificates": "/bad/cert", "key": "/bad/key"})
    assert (status, codes(answer)) == (422, ["HBK0720", "HBK0720"])
    first = answer["problems"][0]
    assert (first["message"], first["remedy"]) == ("ca-cert.pem: it has expired", "have it issued anew")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"certificates": "/good/cert"},
        {"key": "/good/key"},
        {"directory": "/good", "certificates": "/good/cert", "key": "/good/key"},
        {"directory": "/good", "key": "/good/key"},
        {"directory": "/good", "roots": "/good/root"},
        {"directory": "good"},
        {"certificates": "/good/cert", "key": "key"},
    ],
)
async def test_what_names_no_authority_or_two_is_refused(api: Api, importer: FakeImporter, body: dict[str, str]) -> None:
    assert (await api.request("POST", PATH, body))[0] == 422
    assert importer.asked == []


async def test_a_key_itself_is_no_field_of_the_request(api: Api) -> None:
    status, answer = await api.request("POST", PATH, {"directory": "/good", "keyPem": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0"})
    assert status == 400
    assert "c2VjcmV0" not in str(answer)


async def test_a_control_plane_without_that_part_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert (await served.request("GET", PATH))[0] == 501
