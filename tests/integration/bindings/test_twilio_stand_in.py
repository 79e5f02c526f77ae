"""Text messages to a stand-in for Twilio: the service itself cannot be had here."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from harness.block_api import make
from harness.stand_in_twilio import ACCOUNT, TOKEN, StandInTwilio, stand_in_twilio

from dapr_sidecar.components.bindings.base import InvokeRequest
from dapr_sidecar.components.bindings.twilio_sms import TwilioError, TwilioSmsBinding
from dapr_sidecar.components.web import WebError

Open = Callable[..., Awaitable[Any]]


@pytest.fixture
def twilio() -> Iterator[StandInTwilio]:
    with stand_in_twilio() as found:
        yield found


@pytest.fixture
async def open_binding(twilio: StandInTwilio) -> AsyncIterator[Open]:
    made: list[Any] = []

    async def run(**properties: str) -> Any:
        words = {
            "fromNumber": "+15005550006",
            "accountSid": ACCOUNT,
            "authToken": TOKEN,
            "endpoint": twilio.url,
            **properties,
        }
        binding = make(TwilioSmsBinding, "sms", **words)
        made.append(binding)
        await binding.open()
        return binding

    yield run
    for binding in made:
        await binding.close()


async def send(binding: Any, data: bytes, **metadata: str) -> None:
    assert await binding.invoke(InvokeRequest("create", data, metadata)) is None


async def test_messages(twilio: StandInTwilio, open_binding: Open) -> None:
    binding = await open_binding()
    await send(binding, b'"of HTTP \\u0026 \xc3\xa4"', toNumber="+14155550100")
    await send(binding, b"of gRPC + 1", toNumber="+14155550101")
    sender = "+15005550006"
    assert twilio.messages == [
        {"To": "+14155550100", "From": sender, "Body": "of HTTP & ä"},
        {"To": "+14155550101", "From": sender, "Body": "of gRPC + 1"},
    ]


async def test_the_components_number_wins(twilio: StandInTwilio, open_binding: Open) -> None:
    binding = await open_binding(toNumber="+1999")
    await send(binding, b"x", toNumber="+1888")
    assert [message["To"] for message in twilio.messages] == ["+1999"]


async def test_somebody_has_to_get_it(twilio: StandInTwilio, open_binding: Open) -> None:
    with pytest.raises(ValueError, match="missing metadata 'toNumber': expected a phone number"):
        await send(await open_binding(), b"x")
    assert twilio.asked == 0


@pytest.mark.parametrize(
    ("properties", "number", "data", "message"),
    [
        ({"authToken": "geheim"}, "+1", b"x", r"error from Twilio \(401\): .*Authenticate"),
        ({"accountSid": "AC/.."}, "+1", b"x", r"error from Twilio \(401\)"),
        ({}, "home", b"x", r"error from Twilio \(400\): .*Invalid 'To' Phone Number: home"),
        ({}, "+1", b"null", r"error from Twilio \(400\): .*Message body is required"),
    ],
)
async def test_refusals(
    twilio: StandInTwilio,
    open_binding: Open,
    properties: dict[str, str],
    number: str,
    data: bytes,
    message: str,
) -> None:
    binding = await open_binding(**properties)
    with pytest.raises(TwilioError, match=message) as caught:
        await send(binding, data, toNumber=number)
    assert "geheim" not in str(caught.value)
    assert twilio.asked == 1, "what was refused is not tried again"


async def test_a_service_that_says_nothing(open_binding: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        binding = await open_binding(endpoint=url, timeout="300ms")
        with pytest.raises(WebError, match=r"Twilio at 127.0.0.1:.*: no answer within 0\.3 s"):
            await send(binding, b"x", toNumber="+1")
