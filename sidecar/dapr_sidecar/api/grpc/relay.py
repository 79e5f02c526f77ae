"""Proxied calls under way: messages from the client to the app and back, as raw frames."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from dapr_common.errors import GrpcCode
from dapr_common.grpc.client import Call
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import Context
from dapr_sidecar.resiliency.base import CodedError, PermanentError, PolicyTimeoutError, Runner

Open = Callable[[], Awaitable["Upstream"]]


@dataclass(slots=True)
class Upstream:
    """An open call towards the app, and what to do when it is over."""

    call: Call
    over: Callable[[], None] | None = None
    first: list[bytes] | None = None

    def close(self) -> None:
        self.call.cancel()
        over, self.over = self.over, None
        if over is not None:
            over()


async def opened(source: Open, runner: Runner | None) -> Upstream:
    """A call whose policies cover its beginning only. Raises ``RpcError``."""
    if runner is None:
        return await source()
    try:
        return await runner.run(source)
    except (PermanentError, PolicyTimeoutError) as error:
        raise _refused(error) from error


def _refused(error: Exception) -> RpcError:
    timed_out = isinstance(error, PolicyTimeoutError)
    return RpcError(GrpcCode.DEADLINE_EXCEEDED if timed_out else GrpcCode.UNKNOWN, str(error))


def relayed(
    messages: AsyncIterator[bytes], context: Context, upstream: Upstream
) -> AsyncGenerator[bytes, None]:
    """Both directions at once, with the back-pressure of either end."""
    sent = _Input(messages, kept=False)

    async def begin() -> Upstream:
        await sent.go_to(upstream.call)  # which sends in a task of its own: nothing fails here
        return upstream

    return _both_ways(sent, context, begin)


def guarded(
    messages: AsyncIterator[bytes], context: Context, source: Open, runner: Runner
) -> AsyncGenerator[bytes, None]:
    """A call under policies, which count until an answer begins."""
    sent = _Input(messages, kept=runner.retries)
    return _both_ways(sent, context, lambda: _answered(sent, source, runner))


async def _both_ways(sent: _Input, context: Context, begin: Open) -> AsyncGenerator[bytes, None]:
    upstream: Upstream | None = None
    try:
        upstream = await begin()
        async for message in _answers(context, upstream):
            yield message
    except RpcError as error:
        if sent.error is None:
            raise
        raise sent.error from error
    finally:
        if upstream is not None:
            upstream.close()
        await sent.stop()


async def _answers(context: Context, upstream: Upstream) -> AsyncGenerator[bytes, None]:
    call = upstream.call
    await call.initial_metadata()
    if not call.trailers_only:
        context.set_initial_metadata(call.initial)
        context.send_initial_metadata()
    for message in upstream.first or ():
        yield message
    while messages := await call.take():
        for message in messages:
            yield message
    context.set_trailers(call.trailers)


class _Input:
    """The client's messages on their way to whichever attempt runs.

    Where there may be another attempt the first message is kept for it, and a second one is
    refused: it could not be sent again without keeping a whole stream.
    """

    def __init__(self, messages: AsyncIterator[bytes], *, kept: bool) -> None:
        self._messages = messages
        self._kept = kept
        self._first: bytes | None = None
        self._ended = False
        self._call: Call | None = None
        self._task: asyncio.Task[None] | None = None
        self.error: RpcError | None = None

    async def go_to(self, call: Call) -> None:
        """Send to this call from now on, beginning with what was kept."""
        self._call = call
        if self._first is not None:
            await call.send(self._first)
        if self._ended:
            await call.half_close()
        elif self._task is None:
            self._task = asyncio.create_task(self._run(), name="grpc-proxy")

    async def _run(self) -> None:
        try:
            async for message in self._messages:
                self._keep(message)
                if not await self._send(message):
                    return
        except RpcError as error:
            # The client gave up, or went too far. The app must hear of it, too.
            self.error = error
            self._current.cancel()
            return
        self._ended = True
        with contextlib.suppress(RpcError):  # the call is over, and its answer says why
            await self._current.half_close()

    def _keep(self, message: bytes) -> None:
        if self._kept and self._first is not None:
            raise RpcError(
                GrpcCode.FAILED_PRECONDITION,
                "cannot use resiliency policies with retries on streaming RPCs",
            )
        self._first = message if self._kept else None

    async def _send(self, message: bytes) -> bool:
        """Whether there may be more to send."""
        try:
            await self._current.send(message)
        except RpcError:
            # The call is over, and its answer says why. Where there is another attempt it
            # begins with what was kept.
            return self._kept
        return True

    @property
    def _current(self) -> Call:
        assert self._call is not None
        return self._call

    async def stop(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


async def _answered(sent: _Input, source: Open, runner: Runner) -> Upstream:
    """The attempt that succeeded. Raises ``RpcError``."""

    async def attempt() -> Upstream:
        upstream: Upstream | None = None
        try:
            upstream = await source()
            await sent.go_to(upstream.call)
            upstream.first = await upstream.call.take()
        except BaseException as error:
            if upstream is not None:
                upstream.close()
            if not isinstance(error, RpcError):
                raise
            if sent.error is not None:
                raise PermanentError from sent.error
            raise CodedError(int(error.code), str(error), error) from error
        return upstream

    try:
        return await runner.run(attempt)
    except CodedError as error:
        if isinstance(error.result, RpcError):
            raise error.result from error
        raise
    except (PermanentError, PolicyTimeoutError) as error:
        raise _refused(error) from error
