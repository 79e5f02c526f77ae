"""What the bindings API means, for both transports."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from dapr_common.errors import DaprError, ErrorInfo
from dapr_common.observe.tracing import current_span
from dapr_sidecar.components.bindings.base import (
    InvokeError,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)
from dapr_sidecar.context import SidecarContext

_CODE = "ERR_INVOKE_OUTPUT_BINDING"


class OutputBindingError(DaprError):
    """An operation failed; ``metadata`` is what the component still wants to say."""

    def __init__(self, name: str, cause: object, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(
            _CODE,
            f"error invoking output binding {name}: {cause}",
            grpc_details=(ErrorInfo(_CODE, {}),),
        )
        self.metadata: Mapping[str, str] = metadata or {}


class BindingsBlock:
    """Invokes output bindings."""

    def __init__(self, context: SidecarContext) -> None:
        self.context = context

    async def invoke(
        self, name: str, operation: str, data: bytes, metadata: Mapping[str, str]
    ) -> InvokeResponse | None:
        """Run an operation; ``None`` when the component has no answer.

        Raises ``OutputBindingError``.
        """
        if not operation:
            raise OutputBindingError(name, "operation field is missing from request")
        loaded = self.context.components.output_bindings.get(name)
        if loaded is None:
            raise OutputBindingError(name, f"couldn't find output binding {name}")
        component = loaded.component
        if operation not in component.operations:
            supported = " ".join(component.operations)
            raise OutputBindingError(
                name,
                f"binding {name} does not support operation {operation}. "
                f"supported operations:{supported}",
            )
        request = InvokeRequest(operation, data, _with_trace(metadata))
        return await self._call(name, component, request)

    async def _call(
        self, name: str, component: OutputBinding, request: InvokeRequest
    ) -> InvokeResponse | None:
        context = self.context
        runner = context.policies.component_outbound(name, "Binding")
        started = perf_counter()
        success = False
        try:
            if runner is None:
                response = await component.invoke(request)
            else:
                response = await runner.run(lambda: component.invoke(request))
            success = True
        except InvokeError as error:
            raise OutputBindingError(name, error, error.metadata) from error
        except DaprError:
            raise
        except Exception as error:
            raise OutputBindingError(name, error) from error
        finally:
            elapsed = (perf_counter() - started) * 1000
            context.metrics.output_binding(name, request.operation, success, elapsed)
        return response


def _with_trace(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """The request's metadata with the trace context of the call, for components that send it on."""
    span = current_span.get()
    if span is None or not span.context.valid:
        return metadata
    traced = {**metadata, "traceparent": span.context.traceparent}
    if span.context.tracestate:
        traced["tracestate"] = span.context.tracestate
    return traced
