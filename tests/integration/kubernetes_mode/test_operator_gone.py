"""Operators that go, come late, or are not the right ones."""

from __future__ import annotations

import asyncio
import signal

from harness.cluster_apps import ControlPlane, Place, components, until
from harness.programs import free_port


async def test_a_sidecar_outlives_its_operator_and_misses_nothing(
    place: Place, control_plane: ControlPlane
) -> None:
    port = free_port()
    await place.component("before")
    with control_plane.operator(port=port, exit_code=None) as first:
        sidecar = await place.sidecar(operator_port=port)
        sidecar.__enter__()
        await until(sidecar, {"before": "state.in-memory"})
        first.signal(signal.SIGKILL)
        await asyncio.to_thread(first.wait_exit)
    try:
        await asyncio.to_thread(sidecar.wait_line, "updates of Component resources ended")
        await place.component("meanwhile")
        assert await components(sidecar) == {"before": "state.in-memory"}
        with control_plane.operator(port=port):
            found = {"before": "state.in-memory", "meanwhile": "state.in-memory"}
            await until(sidecar, found)
            await place.component("after")
            await until(sidecar, {**found, "after": "state.in-memory"})
    finally:
        sidecar.__exit__(None, None, None)


async def test_an_operator_that_is_not_there_yet_is_waited_for(
    place: Place, control_plane: ControlPlane
) -> None:
    port = free_port()
    await place.component("a")
    sidecar = await place.sidecar(operator_port=port)
    sidecar.start()
    await asyncio.to_thread(sidecar.wait_line, "cannot be had from the operator, trying again")
    with control_plane.operator(port=port):
        await asyncio.to_thread(sidecar.wait_ready)
        await until(sidecar, {"a": "state.in-memory"})
        sidecar.__exit__(None, None, None)


async def test_another_than_the_operator_is_not_believed(
    place: Place, control_plane: ControlPlane
) -> None:
    """Sentry has a good certificate of the same authority; it is no operator all the same."""
    port = control_plane.sentry.port
    sidecar = await place.sidecar(operator_port=port, exit_code=1)
    sidecar.start()
    assert await asyncio.to_thread(sidecar.wait_exit) == 1
    assert "the operator is not the expected one" in sidecar.log
    assert f'expected \\"spiffe://cluster.local/ns/{control_plane.namespace}/dapr-operator' in (
        sidecar.log
    )


async def test_it_stops_while_it_waits_for_the_operator(place: Place) -> None:
    sidecar = await place.sidecar(operator_port=free_port())
    sidecar.start()
    await asyncio.to_thread(sidecar.wait_line, "cannot be had from the operator, trying again")
    sidecar.signal(signal.SIGTERM)
    assert await asyncio.to_thread(sidecar.wait_exit) == 0
