"""Writes of ``pubsub.sqlite`` that cannot be made, and those that are made while it closes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import SettingsError, decode_settings
from dapr_sidecar.components.pubsub.base import PublishRequest
from dapr_sidecar.components.pubsub.sqlite import SqlitePubSub, SqlitePubSubSettings


def broker(folder: Path) -> SqlitePubSub:
    settings = SqlitePubSubSettings(location=str(folder / "events.db"))
    return SqlitePubSub(settings, ComponentContext("ps", "app"))


async def test_a_topic_that_is_no_text_fails_alone(tmp_path: Path) -> None:
    made = broker(tmp_path)
    await made.open()
    try:
        async with asyncio.timeout(20):
            bad, good = await asyncio.gather(
                made.publish(PublishRequest("t\udcff", b"1")),
                made.publish(PublishRequest("t", b"2")),
                return_exceptions=True,
            )
    finally:
        await made.close()
    assert isinstance(bad, UnicodeEncodeError)
    assert good is None


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
async def test_a_write_under_way_while_closing_leaves_no_socket(tmp_path: Path) -> None:
    made = broker(tmp_path)
    await made.open()
    writing = asyncio.ensure_future(made.publish(PublishRequest("t", b"1")))
    await asyncio.sleep(0)
    await made.close()
    await writing
    assert not (tmp_path / "events.db-wake").exists()
    assert made._bell._sender is None


@pytest.mark.parametrize("location", ["{}?cache=private", "file:{}", "file://{}?mode=rwc"])
def test_who_spells_the_file_otherwise_is_woken_too(tmp_path: Path, location: str) -> None:
    spelled = SqlitePubSubSettings(location=location.format(tmp_path / "events.db"))
    made = SqlitePubSub(spelled, ComponentContext("ps", "app"))
    assert made._bell._folder == broker(tmp_path)._bell._folder


@pytest.mark.parametrize("name", ["leaseDuration", "pollInterval"])
def test_a_time_of_nothing_is_refused(tmp_path: Path, name: str) -> None:
    properties = {"connectionString": str(tmp_path / "bus.db"), name: "0s"}
    with pytest.raises(SettingsError, match=f"'{name}': it must be more than 0"):
        SqlitePubSub(decode_settings(SqlitePubSub.settings, properties), ComponentContext("p", "a"))
