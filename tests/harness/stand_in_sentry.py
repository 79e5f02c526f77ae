"""A sentry that is told what to answer, for what a real one does not do on demand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from cryptography import x509
from harness.authorities import Authority

from dapr_common.grpc.context import Context
from dapr_common.grpc.errors import RpcError
from dapr_common.grpc.server import GrpcServer, Method
from dapr_common.security.tls import TlsContexts
from dapr_common.security.x509 import write_certificates
from dapr_common.wire.dapr.proto.sentry.v1 import sentry_pb2 as pb

SENTRY = "spiffe://localhost/ns/default/dapr-sentry"
APP = "spiffe://public/ns/default/app"
HOUR = timedelta(hours=1)


class StandInSentry:
    """Signs what it is asked for; ``answers`` go out first, one per request."""

    def __init__(self) -> None:
        self.issuer = Authority.root().intermediate()
        self.contexts = TlsContexts()
        self.contexts.install(self.issuer.svid(SENTRY))
        self.requests: list[pb.SignCertificateRequest] = []
        self.asked = asyncio.Condition()
        self.answers: list[pb.SignCertificateResponse | RpcError] = []
        self.life = HOUR
        self.uri = APP
        self.anchors: tuple[x509.Certificate, ...] = (self.issuer.top(),)
        self.address = ""

    async def sign(
        self, request: pb.SignCertificateRequest, context: Context
    ) -> pb.SignCertificateResponse:
        async with self.asked:
            self.requests.append(request)
            self.asked.notify_all()
        if not self.answers:
            return self.answer(request)
        answer = self.answers.pop(0)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    def answer(self, request: pb.SignCertificateRequest) -> pb.SignCertificateResponse:
        csr = x509.load_pem_x509_csr(request.certificate_signing_request)
        key = csr.public_key()
        leaf = self.issuer.certify(key, uris=(self.uri,), life=self.life)
        return pb.SignCertificateResponse(
            workload_certificate=write_certificates((leaf, *self.issuer.chain())),
            trust_chain_certificates=[write_certificates(self.anchors)],
        )

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        types = pb.SignCertificateRequest, pb.SignCertificateResponse
        server = GrpcServer(max_receive_bytes=4 << 20)
        server.add(
            Method("/dapr.proto.sentry.v1.CA/SignCertificate", "unary_unary", *types, self.sign)
        )
        bound = await server.listen_tcp("127.0.0.1", port, ssl=self.contexts.server)
        self.address = f"127.0.0.1:{bound}"
        try:
            yield
        finally:
            await server.close(0)

    async def wait_for(self, count: int) -> None:
        async with self.asked:
            await self.asked.wait_for(lambda: len(self.requests) >= count)


class Events:
    def __init__(self) -> None:
        self.first: list[str] = []
        self.later: list[str] = []

    def initialised(self, reason: str = "") -> None:
        self.first.append(reason)

    def rotated(self, reason: str = "") -> None:
        self.later.append(reason)


class Said(logging.Filter):
    """Sets an event once a text was logged."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.event = asyncio.Event()

    def filter(self, record: logging.LogRecord) -> bool:
        if self.text in record.getMessage():
            self.event.set()
        return True
