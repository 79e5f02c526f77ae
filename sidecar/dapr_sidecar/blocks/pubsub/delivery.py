"""One message from broker to app: read, expiry, route, policy, verdict, dead letter."""

from __future__ import annotations

from time import perf_counter

from dapr_common.kube.resources import Subscription
from dapr_common.match_expressions import RouteError
from dapr_common.observe.logs import get_logger
from dapr_common.observe.tracing import Span, parse_traceparent
from dapr_sidecar.blocks.pubsub.dead_letters import DeadLetters, UndeliveredError
from dapr_sidecar.blocks.pubsub.envelope import is_expired
from dapr_sidecar.blocks.pubsub.event import Event, EventError, decode
from dapr_sidecar.blocks.pubsub.routing import Routes
from dapr_sidecar.blocks.pubsub.verdict import RetryRequestedError, Sender, Verdict
from dapr_sidecar.components.pubsub.base import Message
from dapr_sidecar.context import SidecarContext
from dapr_sidecar.resiliency.base import CodedError

_LOG = get_logger("dapr.runtime.pubsub.subscription")


class Delivery:
    """Delivers the messages of one subscription; its ``handle`` is the broker's handler."""

    def __init__(
        self,
        context: SidecarContext,
        subscription: Subscription,
        routes: Routes,
        sender: Sender,
        dead_letters: DeadLetters,
        *,
        raw: bool,
    ) -> None:
        self._context = context
        self._pubsub = subscription.pubsub_name
        self._topic = subscription.topic
        self._routes = routes
        self._sender = sender
        self._dead_letters = dead_letters
        self._raw = raw

    async def handle(self, message: Message) -> None:
        """Returns when the message is done with; raises when the broker must keep it."""
        try:
            event = decode(message, self._pubsub, self._topic, raw=self._raw)
            if "expiration" in event.attributes and is_expired(event.attributes["expiration"]):
                _LOG.warning("dropping expired event of %s/%s", self._pubsub, self._topic)
                self._count("drop", "drop", 0.0)
                await self._dropped(message)
                return
            path = self._routes.find(event.attributes)
        except (EventError, RouteError) as error:
            self._count("retry", "retry", 0.0)
            await self._failed(message, error)
            return
        if path is None:
            _LOG.warning("no matching route for an event of %s/%s", self._pubsub, self._topic)
            self._count("drop", "drop", 0.0)
            await self._dropped(message)
            return
        await self._deliver(message, event, path)

    async def _deliver(self, message: Message, event: Event, path: str) -> None:
        runner = self._context.policies.component_inbound(self._pubsub, "Pubsub")
        try:
            if runner is None:
                verdict = await self._attempt(event, path)
            else:
                verdict = await runner.run(lambda: self._attempt(event, path))
        except Exception as error:  # noqa: BLE001 - whatever it was, the message is not done with
            await self._failed(message, error)
            return
        if verdict is Verdict.DROP:
            await self._dropped(message)

    async def _attempt(self, event: Event, path: str) -> Verdict:
        started = perf_counter()
        span = self._start_span(event)
        try:
            verdict = await self._sender.send(event, path)
        except Exception as error:
            self._count("retry", _status_of(error), started)
            if span is not None:
                span.fail(str(error))
            raise
        finally:
            if span is not None:
                span.end()
        status = "success" if verdict is Verdict.SUCCESS else "drop"
        self._count(status, status, started)
        return verdict

    def _start_span(self, event: Event) -> Span | None:
        tracer = self._context.tracer
        attributes = event.attributes
        text = attributes.get("traceparent") or attributes.get("traceid")
        if not text and not tracer.enabled:
            return None
        state = attributes.get("tracestate")
        parent = (
            parse_traceparent(text, state if isinstance(state, str) else "")
            if isinstance(text, str)
            else None
        )
        if parent is None and not tracer.enabled:
            return None
        span = event.span = tracer.start(f"pubsub/{self._topic}", "CLIENT", parent)
        if span.recording:
            span.set("messaging.system", "pubsub")
            span.set("messaging.destination.name", self._topic)
        return span

    def _count(self, process_status: str, status: str, started: float) -> None:
        elapsed = (perf_counter() - started) * 1000 if started else 0.0
        metrics = self._context.metrics
        metrics.pubsub_ingress(self._pubsub, self._topic, process_status, status, elapsed)

    async def _dropped(self, message: Message) -> None:
        if self._dead_letters:
            await self._dead_letters.put(message)

    async def _failed(self, message: Message, error: Exception) -> None:
        if self._dead_letters:
            await self._dead_letters.put(message)
            return
        raise UndeliveredError(
            f"error returned from app while processing an event of {self._pubsub}/{self._topic}: "
            f"{error}"
        ) from error


def _status_of(error: Exception) -> str:
    if isinstance(error, CodedError):
        return str(error.code)
    if isinstance(error, RetryRequestedError):
        return error.status
    return "retry"
