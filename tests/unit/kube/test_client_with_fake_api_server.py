"""The client against an API server that fails on purpose, which a real one does not do on order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from harness.fake_api_server import (
    FakeApiServer,
    answer,
    events,
    failure,
    fake_api_server,
    listing,
    pod,
)

from dapr_common.grpc.backoff import Backoff
from dapr_common.http.messages import Request, Response
from dapr_common.kube import informer as informer_module
from dapr_common.kube.api_errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    KubeError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
)
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Change, Informer
from dapr_common.kube.kinds import CONFIG_MAPS, PODS, BadNameError, Selection
from dapr_common.kube.login import Login


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with fake_api_server() as fake:
        yield fake


@pytest.fixture
async def client(server: FakeApiServer) -> AsyncIterator[KubeClient]:
    async with KubeClient(server.login) as opened:
        yield opened


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (failure(401, "Unauthorized"), UnauthorizedError),
        (failure(403, "Forbidden"), ForbiddenError),
        (failure(404, "NotFound"), NotFoundError),
        (failure(409, "Conflict"), ConflictError),
        (failure(409, "AlreadyExists"), AlreadyExistsError),
        (failure(410, "Expired"), ExpiredError),
        (failure(422, "Invalid"), ApiError),
        (Response(503, [], b"upstream\nis away"), ApiError),
    ],
)
async def test_refusals_are_typed(
    server: FakeApiServer, client: KubeClient, response: Response, kind: type[ApiError]
) -> None:
    server.line.append(response)
    with pytest.raises(ApiError) as caught:
        await client.get(PODS, "p", "ns")
    assert type(caught.value) is kind
    assert caught.value.status == response.status
    assert str(caught.value).startswith("GET /api/v1/namespaces/ns/pods/p: ")


async def test_what_is_sent(server: FakeApiServer, client: KubeClient) -> None:
    server.line.append(answer({}))
    await client.patch(CONFIG_MAPS, "c", {"data": {}}, "ns", patch_kind="apply", field_manager="me")
    assert server.asked == [
        ("PATCH", "/api/v1/namespaces/ns/configmaps/c", "fieldManager=me&force=true")
    ]
    assert server.headers[0]["authorization"] == "Bearer t0k3n"
    assert server.headers[0]["content-type"] == "application/apply-patch+yaml"
    assert server.bodies == [b'{"data":{}}']


async def test_a_redirect_does_not_get_the_token(server: FakeApiServer, client: KubeClient) -> None:
    server.line.append(Response(302, [(b"Location", server.url.encode() + b"/elsewhere")]))
    with pytest.raises(UnreachableError):
        await client.get(PODS, "p", "ns")
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../secrets/s", "a%2fb", "a?b", "a#b"])
async def test_names_stay_one_segment(server: FakeApiServer, client: KubeClient, name: str) -> None:
    server.line.append(answer({}))
    with pytest.raises(BadNameError):
        await client.get(PODS, name, "ns")
    with pytest.raises(BadNameError):
        await client.get(PODS, "p", name)
    assert server.asked == []


async def test_calls_have_a_deadline(server: FakeApiServer) -> None:
    server.line.append(events(hang=True))
    async with KubeClient(Login(server=server.url, tls=None), timeout=0.2) as client:
        with pytest.raises(UnreachableError, match=r"no answer within 0\.2s"):
            await client.get(PODS, "p", "ns")


async def test_nobody_listens() -> None:
    async with KubeClient(Login(server="http://127.0.0.1:1", tls=None)) as client:
        with pytest.raises(UnreachableError, match="GET /api/v1/pods"):
            await client.list_all(Selection(PODS))


async def test_lists_come_in_pages(server: FakeApiServer, client: KubeClient) -> None:
    server.line += [listing(5, pod("a", 1), rest="more"), listing(5, pod("b", 2))]
    found = await client.list_all(Selection(PODS, "ns", fields="x=y"))
    assert [item["metadata"]["name"] for item in found.items] == ["a", "b"]
    assert found.resource_version == "5"
    assert server.asked[1][2] == "fieldSelector=x%3Dy&limit=500&continue=more"


@pytest.mark.parametrize("split", [1, 7, 100, 100_000])
async def test_events_in_pieces(server: FakeApiServer, client: KubeClient, split: int) -> None:
    written = [("ADDED", pod("a", 1)), ("MODIFIED", pod("a", 2)), ("DELETED", pod("a", 3))]
    server.line.append(events(*written, split=split))
    seen = [event async for event in client.watch(Selection(PODS), "0")]
    assert [(event.kind, event.object) for event in seen] == written
    assert [event.resource_version for event in seen] == ["1", "2", "3"]


async def test_large_events(server: FakeApiServer, client: KubeClient) -> None:
    large = pod("a", 1, big="x" * 300_000)
    server.line.append(events(("ADDED", large), ("DELETED", large), split=65_537))
    seen = [event async for event in client.watch(Selection(PODS), "0")]
    assert [event.object for event in seen] == [large, large]


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (events(("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})), ExpiredError),
        (failure(410, "Gone"), ExpiredError),
        (Response(200, [], b"no json\n"), UnreachableError),
        (Response(200, [], b'{"type":"ADDED","object":{}}\n'), UnreachableError),
    ],
)
async def test_watches_that_fail(
    server: FakeApiServer, client: KubeClient, response: Response, kind: type[KubeError]
) -> None:
    server.line.append(response)
    with pytest.raises(kind):
        _ = [event async for event in client.watch(Selection(PODS), "0")]


class Following:
    """An informer that runs, and the changes it told."""

    def __init__(self, client: KubeClient) -> None:
        self.changes: asyncio.Queue[Change[str]] = asyncio.Queue()
        self.informer = Informer(client, Selection(PODS), label)
        self.informer.on_change(self.changes.put_nowait)
        self.task = asyncio.get_running_loop().create_task(self.informer.run())

    async def next(self) -> tuple[str, str | None, str | None]:
        change = await asyncio.wait_for(self.changes.get(), 30)
        return change.key[1], change.before, change.after


def label(body: dict[str, Any]) -> str:
    return str(body["metadata"]["labels"]["v"])


@pytest.fixture
async def following(
    client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[], Following]]:
    monkeypatch.setattr(informer_module, "Backoff", lambda *a, **k: Backoff(0.01, 0.02))
    started: list[Following] = []

    def start() -> Following:
        started.append(Following(client))
        return started[-1]

    yield start
    for one in started:
        one.task.cancel()
        await asyncio.wait([one.task])


async def test_changes_and_bookmarks(
    server: FakeApiServer, following: Callable[[], Following]
) -> None:
    server.line += [
        listing(5, pod("a", 1, v="1")),
        events(
            ("MODIFIED", pod("a", 6, v="2")),
            ("MODIFIED", pod("a", 7, v="2")),
            ("ADDED", pod("b", 8, v="1")),
            ("DELETED", pod("a", 9, v="2")),
            ("BOOKMARK", pod("", 40, v="1")),
        ),
        events(hang=True),
    ]
    one = following()
    assert [await one.next() for _ in range(4)] == [
        ("a", None, "1"),
        ("a", "1", "2"),
        ("b", None, "1"),
        ("a", "2", None),
    ]
    assert one.informer.synced.is_set()
    assert dict(one.informer.objects) == {("ns", "b"): "1"}
    async with asyncio.timeout(30):
        while len(server.asked) < 3:
            await asyncio.sleep(0.01)
    assert "resourceVersion=40&" in server.asked[2][2]


async def test_a_gone_version_is_listed_again(
    server: FakeApiServer, following: Callable[[], Following]
) -> None:
    """What was missed shows as changes: one pod is gone, one is new, one is another."""
    server.line += [
        listing(5, pod("gone", 1, v="1"), pod("kept", 2, v="1"), pod("other", 3, v="1")),
        events(("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})),
        listing(90, pod("kept", 2, v="1"), pod("other", 80, v="2"), pod("new", 81, v="1")),
        events(hang=True),
    ]
    one = following()
    assert {await one.next() for _ in range(6)} == {
        ("gone", None, "1"),
        ("kept", None, "1"),
        ("other", None, "1"),
        ("gone", "1", None),
        ("other", "1", "2"),
        ("new", None, "1"),
    }
    assert one.informer.get("new", "ns") == "1"
    assert one.informer.get("gone", "ns") is None


async def test_a_lost_connection_goes_on_where_it_was(
    server: FakeApiServer, following: Callable[[], Following], caplog: pytest.LogCaptureFixture
) -> None:
    def cut(_: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield json.dumps({"type": "ADDED", "object": pod("a", 6, v="1")}).encode() + b"\n"
            await asyncio.sleep(0.05)
            raise ConnectionResetError

        return Response(200, [], body())

    server.line += [
        listing(5),
        cut,
        failure(500, "InternalError", "etcd is away"),
        events(("ADDED", pod("b", 7, v="1")), hang=True),
    ]
    one = following()
    assert (await one.next())[0] == "a"
    assert (await one.next())[0] == "b"
    assert [("watch=true" in query, "resourceVersion=6" in query) for _, _, query in server.asked][
        1:
    ] == [(True, False), (True, True), (True, True)]
    assert "pods cannot be followed at the moment" in caplog.text
    assert "etcd is away" in caplog.text


async def test_it_is_not_synced_before_a_list(
    server: FakeApiServer, following: Callable[[], Following]
) -> None:
    server.line += [
        failure(403, "Forbidden", "pods is forbidden"),
        listing(5, pod("a", 1, v="1")),
        events(hang=True),
    ]
    one = following()
    assert not one.informer.synced.is_set()
    await one.next()
    await asyncio.wait_for(one.informer.synced.wait(), 30)


async def test_one_strange_object_is_left_out(
    server: FakeApiServer, following: Callable[[], Following], caplog: pytest.LogCaptureFixture
) -> None:
    server.line += [listing(5, pod("bad", 1), pod("good", 2, v="1")), events(hang=True)]
    one = following()
    assert await one.next() == ("good", None, "1")
    assert "pods: ns/bad is left out" in caplog.text


async def test_a_handler_that_fails_does_not_end_it(
    server: FakeApiServer, following: Callable[[], Following], caplog: pytest.LogCaptureFixture
) -> None:
    server.line += [listing(5, pod("a", 1, v="1"), pod("b", 2, v="1")), events(hang=True)]
    one = following()
    one.informer.on_change(lambda change: {}[change.key])
    await one.next()
    await one.next()
    async with asyncio.timeout(30):
        await one.informer.synced.wait()
    assert "a change of ns/a was not handled" in caplog.text
