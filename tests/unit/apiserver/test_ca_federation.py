"""Bundles and federated trust domains over the API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest_asyncio
from tests.unit.apiserver.serving import Api, codes, serving

PATH = "/v1/ca/federation"


class Refusal(ValueError):
    hint = "do something else"


class PlayedFederator:
    """Remembers what it is asked; refuses what is called `refused`."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []

    def bundle(self, form: str) -> str:
        return f"a bundle as {form}"

    def federation(self) -> Mapping[str, Any]:
        return {"items": []}

    async def federate(self, **asked: Any) -> Mapping[str, Any]:
        self.asked.append(asked)
        if asked["trust_domain"] == "refused":
            raise Refusal("that is no trust domain")
        return {"trustDomain": asked["trust_domain"]}

    async def remove(self, trust_domain: str, by: str) -> bool:
        return trust_domain == "b.td"


@pytest_asyncio.fixture
async def federating(tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, federator=PlayedFederator()) as served:
        yield served


async def test_the_bundle_is_given_in_the_form_that_is_asked_for(federating: Api) -> None:
    assert await federating.request("GET", "/v1/ca/bundle?format=pem") == (200, "a bundle as pem")
    status, body = await federating.request("GET", "/v1/ca/bundle?format=jks")
    assert (status, codes(body)) == (400, ["HBK0505"])


async def test_a_domain_is_federated_as_asked_and_by_whom(federating: Api) -> None:
    body = {"trustDomain": "b.td", "url": "https://b/", "profile": "https_web", "bundle": "text"}
    assert await federating.request("POST", PATH, body) == (200, {"trustDomain": "b.td"})
    federator = federating.parts.federator
    assert isinstance(federator, PlayedFederator)
    (asked,) = federator.asked
    assert asked["by"].startswith("uid ")
    assert (asked["url"], asked["profile"], asked["endpoint_id"], asked["bundle"]) == ("https://b/", "https_web", "", "text")


async def test_a_refusal_says_why_and_what_to_do(federating: Api) -> None:
    status, body = await federating.request("POST", PATH, {"trustDomain": "refused"})
    assert status == 422
    assert (body["problems"][0]["message"], body["problems"][0]["remedy"]) == ("that is no trust domain", "do something else")
    status, body = await federating.request("POST", PATH, {"trustDomain": "b.td", "merge": True})
    assert status == 400


async def test_what_is_not_federated_cannot_be_removed(federating: Api) -> None:
    assert (await federating.request("DELETE", PATH, {"trustDomain": "b.td"}))[0] == 200
    assert (await federating.request("DELETE", PATH, {"trustDomain": "c.td"}))[0] == 404


async def test_a_control_plane_without_federation_says_so(api: Api) -> None:
    for path in (PATH, "/v1/ca/bundle"):
        assert (await api.request("GET", path))[0] == 501
