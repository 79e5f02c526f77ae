"""Every test that takes ``maker`` runs once for each entry of its module's kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from harness.component_table import TABLE, Maker, Services, entry_id, running_services
from harness.dead_transports import collect_dead_transports

__all__ = ["collect_dead_transports"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "maker" in metafunc.fixturenames:
        entries = TABLE[metafunc.module.KIND]
        metafunc.parametrize("maker", entries, ids=map(entry_id, entries), indirect=True)


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    yield from running_services()


@pytest.fixture
async def maker(
    request: pytest.FixtureRequest, tmp_path: Path, services: Services
) -> AsyncIterator[Maker]:
    found = Maker(request.param, tmp_path, services)
    yield found
    await found.close()
