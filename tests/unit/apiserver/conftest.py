from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from tests.unit.apiserver.serving import Api, FakePilot, serving


@pytest_asyncio.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """An API with a pilot whose proxies acknowledge everything, and an authority that knows one pod."""
    async with serving(tmp_path, pilot=FakePilot()) as served:
        yield served
