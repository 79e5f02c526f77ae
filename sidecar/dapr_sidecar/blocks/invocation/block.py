"""Service invocation: finds the way to the target, applies policies, makes the call."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_sidecar.blocks.invocation.app import AppCaller
from dapr_sidecar.blocks.invocation.external import ExternalCaller
from dapr_sidecar.blocks.invocation.methods import normalise
from dapr_sidecar.blocks.invocation.targets import is_url, split_app_id
from dapr_sidecar.components.middleware.pipeline import Wrapper
from dapr_sidecar.components.nameresolution.base import Resolver
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.messaging.call import Answer, Invocation, InvocationError
from dapr_sidecar.messaging.peers import Peers, PeerSecurity
from dapr_sidecar.messaging.remote import RemoteCaller
from dapr_sidecar.messaging.resolve import AddressBook
from dapr_sidecar.resiliency.base import CodedError, PermanentError, Runner

_BUILT_IN = "DaprBuiltInServiceRetries"
_GONE = (GrpcCode.UNAVAILABLE, GrpcCode.UNAUTHENTICATED)
_KEPT_BODY_BYTES = 4 << 20


class InvocationBlock:
    """Calls applications by id, HTTP endpoints by name and URLs as they are."""

    def __init__(
        self,
        context: SidecarContext,
        *,
        security: PeerSecurity | None = None,
        max_message_bytes: int | None = 4 << 20,
    ) -> None:
        self.context = context
        self.most_kept = max_message_bytes
        """How much of an answer is held in memory where it is needed whole."""
        self.book = AddressBook()
        self.peers = Peers(
            security, max_message_bytes=max_message_bytes, after=context.metrics.grpc_client
        )
        self.app = AppCaller(context)
        self.external = ExternalCaller(context)
        self._remote = RemoteCaller(context.identity, self.book, self.peers)
        self.ready = False

    def start(self, resolver: Resolver | None) -> None:
        """Calls are taken from now on; ``None``: the name resolver could not be started."""
        self.book.resolver = resolver
        self.book.port = self.context.identity.internal_port
        self.ready = True

    def set_app_middlewares(self, wrappers: Sequence[Wrapper]) -> None:
        """Put these around every call over HTTP to the app or an external endpoint."""
        self.app.set_middlewares(wrappers)
        self.external.set_middlewares(wrappers)

    async def close(self) -> None:
        """Cut the connections to other sidecars and endpoints."""
        await self.peers.close()
        await self.external.close()

    # --- calls ------------------------------------------------------------------------------

    async def invoke(self, call: Invocation) -> Answer:
        """Make a call. Raises ``RpcError``, ``InvocationError``, ``LookupError``, ``OSError``…"""
        call.method = normalise(call.method)
        if self.book.resolver is None:
            raise InvocationError("name resolver not initialized")
        runner = self.context.policies.app(call.target, self._breaker_key(call))
        if runner is None:
            return await self._once(call)
        return await self._guarded(call, runner)

    def _breaker_key(self, call: Invocation) -> str:
        endpoint = self.context.components.http_endpoints.get(call.target)
        if endpoint is not None:
            return f"{call.target}:{endpoint.base_url}"
        if is_url(call.target):
            return f"{call.target}/{call.method}"
        return f"{call.target}:{call.method}"

    async def _once(self, call: Invocation) -> Answer:
        target = call.target
        if target in self.context.components.http_endpoints or is_url(target):
            return await self.external.call(call)
        try:
            app_id, namespace = split_app_id(target, self.context.identity.invocation_namespace)
        except ValueError as error:
            raise InvocationError(str(error)) from error
        if self.is_own(app_id, namespace):
            if self.context.channel is None:
                raise InvocationError("cannot invoke local endpoint: app channel not initialized")
            return await self.app.call(call)
        return await self._to_peer(call, app_id, namespace)

    def is_own(self, app_id: str, namespace: str) -> bool:
        """Whether this is the app of this sidecar."""
        own = self.context.identity
        return app_id == own.app_id and namespace == own.invocation_namespace

    async def _guarded(self, call: Invocation, runner: Runner) -> Answer:
        if call.streaming:
            # Once: the next attempt would begin in the middle of the body.
            runner = runner.once()
        elif runner.retries:
            await call.keep_body()

        async def attempt() -> Answer:
            answer = await self._once(call)
            if answer.ok:
                return answer
            if not call.streaming:
                await answer.read(self.most_kept)
            code = answer.status
            raise CodedError(code, f"received non-successful status code: {code}", answer)

        try:
            return await runner.run(attempt)
        except CodedError as error:
            # Retries are used up: the app's last answer is the answer.
            if isinstance(error.result, Answer):
                return error.result
            raise

    # --- other sidecars ---------------------------------------------------------------------

    async def _to_peer(self, call: Invocation, app_id: str, namespace: str) -> Answer:
        metrics = self.context.metrics
        metrics.invocation_request_sent(app_id, call.streaming)
        started = perf_counter()
        status = 500
        try:
            answer = await self._with_retries(call, app_id, namespace)
            status = answer.status
        finally:
            elapsed = (perf_counter() - started) * 1000
            metrics.invocation_response_received(app_id, status, call.streaming, elapsed)
        return answer

    async def _with_retries(self, call: Invocation, app_id: str, namespace: str) -> Answer:
        length = call.content_length
        if call.body is None and length is not None and length <= _KEPT_BODY_BYTES:
            await call.keep_body()
        try:
            return await self._remote.call(call, app_id, namespace)
        except RpcError as error:
            if error.code not in _GONE or not call.repeatable:
                raise
            if self.context.policies.has_app_target(call.target):
                raise
            return await self._again(call, app_id, namespace, error)

    async def _again(
        self, call: Invocation, app_id: str, namespace: str, first: RpcError
    ) -> Answer:
        """The built-in retries; ``first`` is what the first attempt ended with."""
        attempts = 0

        async def attempt() -> Answer:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise first
            try:
                return await self._remote.call(call, app_id, namespace)
            except RpcError as error:
                if error.code not in _GONE or not call.repeatable:
                    raise PermanentError from error
                raise
            except Exception as error:
                raise PermanentError from error

        try:
            return await self.context.policies.builtin(_BUILT_IN).run(attempt)
        except RpcError as error:
            if error.code not in _GONE:
                raise
            raise InvocationError(
                f"failed to invoke target {call.target} after {attempts - 1} retries. "
                f"Error: {error}"
            ) from error
