"""The admission webhook: a request becomes a decision, and what became of it is reported."""

from __future__ import annotations

import asyncio
from typing import Protocol

from dapr_common.http.messages import Request, Response
from dapr_common.kube.api_errors import KubeError
from dapr_common.kube.webhook_server import RefusedError, read_review, reviewed
from dapr_injector.admission import Answer, Candidate, examine, inject, reject
from dapr_injector.callers import Callers
from dapr_injector.injection import Facts
from dapr_injector.reports import Reports
from dapr_injector.settings import Settings

PATH = b"/mutate"


class Source(Protocol):
    """Knows what the cluster says."""

    async def facts(self, candidate: Candidate) -> Facts:
        """What one pod's sidecar depends on. Raises ``KubeError``."""
        ...


class Webhook:
    """Answers one request after the other."""

    def __init__(
        self, settings: Settings, callers: Callers, source: Source, reports: Reports
    ) -> None:
        self._settings = settings
        self._callers = callers
        self._source = source
        self._reports = reports

    async def handle(self, request: Request) -> Response:
        """Answer a request. Raises ``RefusedError``; any other exception is a defect."""
        self._reports.received()
        try:
            return await self._mutate(request)
        except asyncio.CancelledError:  # the caller did not wait
            self._reports.failed("write_response")
            raise
        except RefusedError:
            raise
        except Exception:
            self._reports.failed("response")
            raise

    async def _mutate(self, request: Request) -> Response:
        body = await read_review(request)
        answer = await self._answer(body)
        self._reports.answered(answer, body)
        return reviewed(answer.body)

    async def _answer(self, body: bytes) -> Answer:
        found = examine(body, self._callers, self._settings.identity.namespace)
        if isinstance(found, Answer):
            return found
        try:
            facts = await self._source.facts(found)
        except KubeError as error:
            return reject(found, f"the cluster cannot be asked what the pod needs: {error}")
        return inject(found, self._settings, facts)
