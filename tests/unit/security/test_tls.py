"""Mutual TLS on real sockets: who gets in, and certificates that change under open listeners."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from harness.authorities import Authority

from dapr_common.grpc.client import GrpcChannel
from dapr_common.grpc.context import Context
from dapr_common.grpc.errors import HandshakeError, RpcError
from dapr_common.grpc.server import GrpcServer, Method
from dapr_common.security.spiffe import SpiffeId
from dapr_common.security.svid import Svid
from dapr_common.security.tls import RotatingContext, TlsContexts, peer_id
from dapr_common.security.x509 import CertificateError, new_private_key

_ME, _YOU = "spiffe://public/ns/default/me", "spiffe://other/ns/default/you"
_WHO, _CHAT = "/test.Peer/Who", "/test.Peer/Chat"


def contexts(svid: Svid) -> TlsContexts:
    made = TlsContexts()
    made.install(svid)
    return made


async def _who(request: bytes, context: Context) -> bytes:
    return str(context.identity).encode()


async def _chat(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


@asynccontextmanager
async def serving(context: ssl.SSLContext, *, identify: bool = True) -> AsyncIterator[str]:
    server = GrpcServer(max_receive_bytes=None)
    server.add(Method(_WHO, "unary_unary", None, None, _who))
    server.add(Method(_CHAT, "stream_stream", None, None, _chat))
    port = await server.listen_tcp(
        "127.0.0.1", 0, ssl=context, identify=peer_id if identify else None
    )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.close(0)


async def who(target: str, context: ssl.SSLContext) -> str:
    """Whom the server takes the client for."""
    channel = GrpcChannel(target, ssl=context, connect_timeout=20)
    try:
        return bytes((await channel.unary(_WHO, b"", timeout=20)).message).decode()
    finally:
        await channel.close()


async def test_both_sides_learn_who_the_other_is() -> None:
    issuer = Authority.root().intermediate()
    mine, yours = contexts(issuer.svid(_ME)), contexts(issuer.svid(_YOU))
    seen: list[SpiffeId] = []
    async with serving(yours.mutual_server) as target:
        channel = GrpcChannel(
            target, ssl=mine.client, verify_peer=lambda tls: seen.append(peer_id(tls))
        )
        answer = await channel.unary(_WHO, b"", timeout=20)
        await channel.close()
    assert answer.message == _ME.encode()
    assert [str(one) for one in seen] == [_YOU]


async def test_a_client_without_a_certificate_is_refused_where_one_is_asked_for() -> None:
    issuer = Authority.root().intermediate()
    yours = contexts(issuer.svid(_YOU))
    anonymous = TlsContexts()
    anonymous.trust((issuer.top(),))
    async with serving(yours.mutual_server) as target:
        with pytest.raises(RpcError):
            await who(target, anonymous.anonymous_client)
    async with serving(yours.server, identify=False) as target:
        assert await who(target, anonymous.anonymous_client) == "None"


async def test_strangers_are_refused_by_either_side() -> None:
    root, stranger = Authority.root(), Authority.root()
    yours = contexts(root.svid(_YOU))
    async with serving(yours.mutual_server) as target:
        with pytest.raises(HandshakeError, match="certificate verify failed"):
            await who(target, contexts(stranger.svid(_ME)).client)
        # One that would believe the server still has to be believed.
        cheat = contexts(stranger.svid(_ME, anchors=(root.certificate,)))
        with pytest.raises(RpcError):
            await who(target, cheat.client)


async def test_a_workload_whose_certificate_has_ended_is_refused() -> None:
    root = Authority.root()
    ended = contexts(root.svid(_ME, life=-timedelta(seconds=1)))
    async with serving(contexts(root.svid(_YOU)).mutual_server) as target:
        with pytest.raises(RpcError):
            await who(target, ended.client)
    async with serving(ended.mutual_server) as target:
        with pytest.raises(HandshakeError, match="certificate has expired"):
            await who(target, contexts(root.svid(_YOU)).client)


async def test_a_certificate_without_an_identity_is_refused() -> None:
    root = Authority.root()
    key = new_private_key("ecdsa")
    leaf = root.certify(key.public_key(), "somebody", uris=("https://example.com",))
    nobody = contexts(Svid(SpiffeId.parse(_ME), (leaf,), key, (root.certificate,)))
    async with serving(contexts(root.svid(_YOU)).mutual_server) as target:
        with pytest.raises(RpcError):
            await who(target, nobody.client)


async def test_plaintext_is_refused() -> None:
    async with serving(contexts(Authority.root().svid(_YOU)).mutual_server) as target:
        channel = GrpcChannel(target, connect_timeout=20)
        with pytest.raises(RpcError):
            await channel.unary(_WHO, b"", timeout=20)
        await channel.close()


async def test_new_handshakes_use_the_newest_certificate_and_open_streams_go_on() -> None:
    root = Authority.root()
    mine, yours = contexts(root.svid(_ME)), contexts(root.svid(_YOU))
    async with serving(yours.mutual_server) as target:
        old = GrpcChannel(target, ssl=mine.client)
        call = await old.open(_CHAT)
        await call.send(b"before")
        assert await anext(call) == b"before"

        # A new root: first both are trusted, then new certificates, then only the new root.
        other = Authority.root("second")
        both = (root.certificate, other.certificate)
        for ours in (root, other):
            mine.install(ours.svid(_ME, anchors=both))
            assert await who(target, mine.client) == _ME
            yours.install(ours.svid(_YOU, anchors=both))
            assert await who(target, mine.client) == _ME
        mine.install(other.svid("spiffe://public/ns/default/renamed"))
        yours.install(other.svid(_YOU))
        assert await who(target, mine.client) == "spiffe://public/ns/default/renamed"
        with pytest.raises(RpcError):
            await who(target, contexts(root.svid(_ME, anchors=both)).client)

        await call.send(b"after")
        assert await anext(call) == b"after"
        await old.close()


async def test_sessions_are_not_resumed() -> None:
    """A resumed session would not look at the client's certificate again."""
    root = Authority.root()
    mine = contexts(root.svid(_ME))
    sessions: list[ssl.SSLSession | None] = []
    async with serving(contexts(root.svid(_YOU)).mutual_server) as target:
        channel = GrpcChannel(
            target, ssl=mine.client, verify_peer=lambda tls: sessions.append(tls.session)
        )
        await channel.unary(_WHO, b"", timeout=20)
        await channel.close()
    assert all(session is None or not session.has_ticket for session in sessions)


def test_before_the_first_certificate_a_handshake_fails_clearly() -> None:
    with pytest.raises(ssl.SSLError, match="no certificate yet"):
        RotatingContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())


def test_a_key_that_does_not_fit_changes_nothing() -> None:
    root = Authority.root()
    good = root.svid(_ME)
    made = contexts(good)
    newest = made.client._newest
    with pytest.raises(ssl.SSLError):
        made.install(Svid(good.id, good.chain, new_private_key("ecdsa"), good.anchors))
    assert made.client._newest is newest


def test_a_peer_without_a_certificate_has_no_identity() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    with pytest.raises((CertificateError, ValueError)):
        peer_id(tls)
