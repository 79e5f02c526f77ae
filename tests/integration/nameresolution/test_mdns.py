"""mDNS: real sidecars on one machine find each other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from harness.app import RecordingApp
from harness.http_call import call
from harness.sidecar import Sidecar


def answers(caller: Sidecar, app_id: str) -> Iterator[bytes]:
    """What instances of an app answer, one call after the other."""
    while True:
        answer = call(caller.http_port, "GET", f"/v1.0/invoke/{app_id}/method/m")
        assert answer.status == 200, answer
        yield answer.body


def app(stack: ExitStack, name: str) -> RecordingApp:
    return stack.enter_context(RecordingApp({"GET /m": {"status": 200, "body": name}}))


@pytest.mark.slow
def test_instances_of_one_app_are_used_in_turn() -> None:
    with ExitStack() as stack:
        caller = stack.enter_context(Sidecar())
        one = stack.enter_context(Sidecar(app_port=app(stack, "one").port))
        two = Sidecar(one.app_id, app_port=app(stack, "two").port)
        with two:
            seen = answers(caller, one.app_id)
            until = time.monotonic() + 30
            while {next(seen), next(seen)} != {b"one", b"two"}:
                assert time.monotonic() < until
            first, second = next(seen), next(seen)
            assert {first, second} == {b"one", b"two"}
            assert [next(seen) for _ in range(8)] == [first, second] * 4
        # It is gone: no call goes there any more.
        until = time.monotonic() + 30
        while {next(seen) for _ in range(4)} != {b"one"}:
            assert time.monotonic() < until


@pytest.mark.slow
def test_an_instance_that_comes_later_joins_in() -> None:
    with ExitStack() as stack:
        caller = stack.enter_context(Sidecar())
        one = stack.enter_context(Sidecar(app_port=app(stack, "one").port))
        seen = answers(caller, one.app_id)
        assert next(seen) == b"one"
        stack.enter_context(Sidecar(one.app_id, app_port=app(stack, "two").port))
        until = time.monotonic() + 30
        while {next(seen), next(seen)} != {b"one", b"two"}:
            assert time.monotonic() < until


@pytest.mark.slow
@pytest.mark.parametrize("address", ["localhost", "::1"])
def test_a_sidecar_that_listens_on_localhost_is_found(address: str) -> None:
    flags = [f"--dapr-internal-grpc-listen-address={address}"]
    elsewhere = {"DAPR_HOST_IP": "192.0.2.9"}  # where nobody listens
    with ExitStack() as stack:
        caller = stack.enter_context(Sidecar())
        port = app(stack, "here").port
        callee = stack.enter_context(Sidecar(app_port=port, flags=flags, env=elsewhere))
        assert next(answers(caller, callee.app_id)) == b"here"
