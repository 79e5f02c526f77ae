"""Middlewares, and a provider of tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from harness.block_api import make
from harness.pipeline import Piped, Wrapped, echo
from harness.stand_in_identity_provider import StandInIdentityProvider


@pytest.fixture
async def piped() -> AsyncIterator[Wrapped]:
    made: list[Any] = []

    async def start(kind: type[Any], name: str = "c", **properties: str) -> Piped:
        middleware = make(kind, name, **properties)
        made.append(middleware)
        await middleware.open()
        return Piped(middleware, middleware.wrap(echo))

    yield start
    for one in made:
        await one.close()
        await one.close()


@pytest.fixture
async def provider() -> AsyncIterator[StandInIdentityProvider]:
    async with StandInIdentityProvider() as found:
        yield found
