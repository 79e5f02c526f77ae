"""What the API server asks: is a resource fit to be used, and how is it in another version.

Every replica answers; who leads does not matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dapr_common.http.messages import Request, Response
from dapr_common.kube import conversion
from dapr_common.kube.api_errors import KubeError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.kinds import CRDS, VALIDATING_WEBHOOKS, KubeObject, Selection
from dapr_common.kube.validation.resiliency import Known, policy_names
from dapr_common.kube.validation.review import Review, ReviewError, refused_for
from dapr_common.kube.webhook_registration import Place, WebhookRegistration
from dapr_common.kube.webhook_server import RefusedError, WebhookServer, read_review, reviewed
from dapr_common.observe.logs import get_logger
from dapr_common.security.tls import TlsContexts
from dapr_operator.cache import Cache
from dapr_operator.kinds import RESILIENCY, SUBSCRIPTION
from dapr_operator.metrics import OperatorMetrics
from dapr_operator.settings import WebhookSettings

_LOG = get_logger("dapr.operator.webhooks")
_CONVERSION = Place(
    CRDS, "CustomResourceDefinition", SUBSCRIPTION.crd, "/spec/conversion/webhook/clientConfig"
)
_VALIDATION = Place(
    VALIDATING_WEBHOOKS,
    "ValidatingWebhookConfiguration",
    "dapr-validation",
    "/webhooks/0/clientConfig",
)
_MOST_BODY_BYTES = 32 << 20  # whoever lists old Subscriptions has all of them converted at once
_LARGE_BYTES = 32 << 10
_LOOK_SECONDS = 2.0

T = TypeVar("T")


class Webhooks:
    """``open`` and ``close`` the server; ``registrations`` are for whoever knows the anchors.

    ``ready`` is called once the API server knows how to reach the conversion.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        namespace: str,
        client: KubeClient,
        cache: Cache,
        metrics: OperatorMetrics,
        ready: Callable[[], None],
    ) -> None:
        self.registrations = (
            WebhookRegistration(client, _CONVERSION, ready, namespace=namespace),
            WebhookRegistration(client, _VALIDATION),
        )
        self._settings = settings
        self._client = client
        self._metrics = metrics
        self._resiliencies = cache[RESILIENCY]
        # One large object after the other, so that sidecars and other callers are served meanwhile.
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="large-review")
        self._server: WebhookServer | None = None

    async def open(self, contexts: TlsContexts) -> int:
        """Listen. Returns the port. Raises ``BindError``."""
        routes = {b"/convert": self._convert, b"/validate": self._validate}
        self._server = WebhookServer(routes, contexts, max_body_bytes=_MOST_BODY_BYTES)
        settings = self._settings
        return await self._server.open(settings.listen_address, settings.port)

    async def close(self) -> None:
        """Let the API server go to others, and answer what it has asked."""
        if self._server is not None:
            await self._server.close()
        self._aside.shutdown(wait=False, cancel_futures=True)

    # --- conversion -------------------------------------------------------------------------

    async def _convert(self, request: Request) -> Response:
        body = await read_review(request)
        try:
            return reviewed(await self._run(len(body), lambda: conversion.answer(body)))
        except conversion.ConversionError as error:
            raise RefusedError(400, str(error)) from error

    # --- validation -------------------------------------------------------------------------

    async def _validate(self, request: Request) -> Response:
        body = await read_review(request)
        try:
            review = Review.read(body)
        except ReviewError as error:
            raise RefusedError(400, str(error)) from error
        response = await self._response(review, len(body))
        if (refused := refused_for(response)) is not None:
            self._metrics.refused.at(*refused).add()
        return reviewed(review.written(response))

    async def _response(self, review: Review, size: int) -> KubeObject:
        about = review.resiliency
        if about is None:
            return await self._run(size, review.response)
        namespace, name = about
        present = [one.body for one in self._resiliencies.of_namespace(namespace)]
        known = _policies(present, but=name)
        response = await self._run(size, lambda: review.response(known))
        if response["allowed"]:
            return response
        # The policy it names may have come with the same `kubectl apply`, a moment ago.
        newest = _policies(await self._list(namespace), but=name)
        if newest == known:
            return response
        return await self._run(size, lambda: review.response(newest))

    async def _list(self, namespace: str) -> Iterable[KubeObject]:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                found = await self._client.list_all(Selection(RESILIENCY.kind, namespace))
        except (KubeError, TimeoutError) as error:
            _LOG.warning("Policies of namespace %s may be out of date: %s", namespace, error)
            return [one.body for one in self._resiliencies.of_namespace(namespace)]
        return found.items

    async def _run(self, size: int, decide: Callable[[], T]) -> T:
        """Decide here, or aside when that may take long."""
        if size < _LARGE_BYTES:
            return decide()
        return await asyncio.get_running_loop().run_in_executor(self._aside, decide)


def _policies(resiliencies: Iterable[KubeObject], *, but: str) -> Known:
    """What they define, but for the one that is under review: it says itself what it defines."""
    known: dict[str, set[str]] = {}
    for body in resiliencies:
        if body["metadata"]["name"] == but:
            continue
        for section, names in policy_names(body).items():
            known.setdefault(section, set()).update(names)
    return known
