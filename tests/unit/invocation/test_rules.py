"""The pure parts: targets, methods, middlewares."""

from __future__ import annotations

import base64
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Request, Response
from dapr_sidecar.blocks.invocation.app import http_path
from dapr_sidecar.blocks.invocation.methods import normalise
from dapr_sidecar.blocks.invocation.targets import HttpTarget, http_target, split_app_id
from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.metadata import decode_settings
from dapr_sidecar.components.middleware.pipeline import wrapped, wrappers
from dapr_sidecar.components.middleware.routeralias import (
    RouterAliasMiddleware,
    RouterAliasSettings,
)
from dapr_sidecar.components.middleware.uppercase import UppercaseMiddleware, UppercaseSettings
from dapr_sidecar.messaging.call import Invocation

# --- targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "app_id", "method"),
    [
        (b"/v1.0/invoke/a/method/x/y", "a", "x/y"),
        (b"/v1.0/invoke/a/method/", "a", ""),
        (b"/v1.0//invoke///a/method/x", "a", "x"),
        (b"//v1.0/invoke/a/method/x%2Fy%20z", "a", "x/y z"),
        (b"/v1.0/invoke/a%2Eb/method/x", "a.b", "x"),
        (b"/v1.0/invoke/a+b/method/x+y", "a b", "x+y"),
        (b"/v1.0/invoke/a/method/b/method/c", "a", "b/method/c"),
        (b"/v1.0/invoke/http://h:1/method/base/x", "http://h:1", "base/x"),
        (b"/v1.0/invoke/http%3A%2F%2Fh:1/method/x", "http://h:1", "x"),
        (b"/v1.0/invoke/http:/h:1/method/x", "http://h:1", "x"),
        (b"/v1.0/invoke/a/method//x", "a", "/x"),
        (b"/v1.0/invoke/a%252Bb/method/x", "a+b", "x"),
        (b"/v1.0/invoke/a/method/b%23/../c", "a", "c"),
        (b"/v1.0/invoke/http://h:1/base/method/x", "http://h:1/base", "x"),
        (b"/v1.0/invoke/https%3A%2F%2Fh%2Fmethod%2Fx", "https://h", "x"),
        (b"/v1.0/invoke/a/method/caf%C3%A9", "a", "caf\u00e9"),
        (b"/v1.0/invoke/a/method/caf\xe9", "a", "caf\udce9"),
    ],
)
def test_target_by_path(path: bytes, app_id: str, method: str) -> None:
    assert http_target(Request("GET", path, b"", [])) == HttpTarget(app_id, method, False)


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/x",
        b"/v1.0/invoke/a/method",
        b"/v1.0/invoke//method/x",
        b"/v1.0/invoke/a/x",
        b"/v1.1/invoke/a/method/x",
    ],
)
def test_no_target(path: bytes) -> None:
    assert http_target(Request("GET", path, b"", [])) is None
    assert http_target(Request("GET", path, b"", [(b"authorization", b"Basic eDp5")])) is None


@pytest.mark.parametrize("path", [b"/v1.0/invoke/a%zz/method/x", b"/%"])
def test_broken_escapes(path: bytes) -> None:
    with pytest.raises(ValueError, match="invalid URL escape"):
        http_target(Request("GET", path, b"", []))


@pytest.mark.parametrize(
    ("given_", "app_id"),
    [
        (b"Basic " + base64.b64encode(b"dapr-app-id:a"), "a"),
        (b"basic " + base64.b64encode(b"DAPR-App-ID:a.ns"), "a.ns"),
        (b"Basic " + base64.b64encode(b"dapr-app-id:"), None),
        (b"Basic " + base64.b64encode(b"dapr-app-id:a:b"), None),
        (b"Basic " + base64.b64encode(b"dapr-app-id"), None),
        (b"Basic " + base64.b64encode(b"somebody:a"), None),
        (b"Basic " + base64.b64encode(b"dapr-app-id:aa").rstrip(b"="), None),
        (b"Basic \xff\xff", None),
        (b"Basic", None),
        (b"Bearer " + base64.b64encode(b"dapr-app-id:a"), None),
    ],
)
def test_target_by_credentials(given_: bytes, app_id: str | None) -> None:
    request = Request("GET", b"/x%2Fy/../z//", b"", [(b"authorization", given_)])
    wanted = None if app_id is None else HttpTarget(app_id, "x/z", False)
    assert http_target(request) == wanted
    # The header beats the credentials, and both beat the path.
    request = Request("GET", b"/v1.0/invoke/p/method/m", b"", [(b"authorization", given_)])
    found = http_target(request)
    assert found is not None
    assert found.app_id == (app_id or "p")
    request.set_headers([*request.headers, (b"dapr-app-id", b"h")])
    assert http_target(request) == HttpTarget("h", "v1.0/invoke/p/method/m", True)


def test_app_ids_with_namespace() -> None:
    assert split_app_id("a", "own") == ("a", "own")
    assert split_app_id("a.b", "own") == ("a", "b")
    for text, message in [
        ("", "app id is empty"),
        ("a.b.c", "invalid app id a.b.c"),
        (".b", "app id is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            split_app_id(text, "own")


# --- methods ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        ("a//b", "a/b"),
        ("../../x", "x"),
        ("a/./b/", "a/b"),
        ("/a/../../b", "/b"),
        (".", ""),
        ("..", ""),
        ("", ""),
        ("/", "/"),
        ("%41*é\\", "%41*é\\"),
    ],
)
def test_methods_are_cleaned(given_: str, wanted: str) -> None:
    assert normalise(given_) == wanted


@given(st.lists(st.sampled_from(["a", "b", ".", "..", "", "c.d"]), max_size=8), st.booleans())
def test_methods_agree_with_a_slow_model(segments: list[str], rooted: bool) -> None:
    text = ("/" if rooted else "") + "/".join(segments)
    cleaned = posixpath.normpath(text) if text else ""
    while cleaned.startswith("../"):
        cleaned = cleaned[3:]
    cleaned = "" if cleaned in (".", "..") else cleaned
    if cleaned.startswith("//"):
        cleaned = cleaned[1:]
    assert normalise(text) == cleaned
    assert normalise(normalise(text)) == cleaned


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        ("a#b", '"a#b"'),
        ("a?", '"a?"'),
        ("a\x00", r'"a\x00"'),
        ("\x7f", r'"\x7f"'),
        ("a\n", r'"a\n"'),
    ],
)
def test_forbidden_characters(method: str, shown: str) -> None:
    with pytest.raises(RpcError) as failure:
        normalise(method)
    assert failure.value.code == GrpcCode.INVALID_ARGUMENT
    assert failure.value.message == f"invalid method: method contains forbidden character: {shown}"


@pytest.mark.parametrize(
    ("method", "query", "wanted"),
    [
        ("a/b", "", b"/a/b"),
        ("/a", "x=1&y=%20", b"/a?x=1&y=%20"),
        ("", "", b"/"),
        ("a b/é%41", "q r\r\nEvil: 1", b"/a%20b/%C3%A9%2541?q%20r%0D%0AEvil:%201"),
        ("a|b", "", b"/a%7Cb"),
    ],
)
def test_request_targets(method: str, query: str, wanted: bytes) -> None:
    assert http_path(Invocation("x", method, query=query)) == wanted


# --- middlewares --------------------------------------------------------------------------------


async def echo(request: Request) -> Response:
    return Response(200, [], request.path + b"?" + request.query + b"|" + await request.read())


def uppercase(direction: str = "request") -> UppercaseMiddleware:
    settings = decode_settings(UppercaseSettings, {"direction": direction})
    return UppercaseMiddleware(settings, ComponentContext("up", "x"))


async def alias(routes: str) -> RouterAliasMiddleware:
    made = RouterAliasMiddleware(RouterAliasSettings(routes=routes), ComponentContext("alias", "x"))
    await made.open()
    return made


async def test_pipeline_order_and_missing_components(caplog: pytest.LogCaptureFixture) -> None:
    live = {"alias": await alias('{"/short": "/long"}'), "up": uppercase()}
    section = {"handlers": [{"name": "alias"}, {"name": "ghost", "type": "t"}, {"name": "up"}]}
    handler = wrapped(echo, wrappers(section, live, "httpPipeline"))
    response = await handler(Request("POST", b"/short", b"q=1", [], body=b"abc"))
    assert response.body == b"/long?q=1|ABC"
    assert "ghost" in caplog.text


async def test_uppercase_of_answers() -> None:
    handler = wrapped(echo, [uppercase("both").wrap])
    assert (await handler(Request("POST", b"/p", b"", [], body=b"abc"))).body == b"/P?|ABC"
    with pytest.raises(ValueError, match="expected one of"):
        uppercase("sideways")


async def test_alias_parameters_become_a_query() -> None:
    made = await alias('{"/act/{id}/info": "/v1.0/invoke/srv/method/info?fixed=1"}')
    handler = made.wrap(echo)
    response = await handler(Request("GET", b"/act/7/info", b"a=b", []))
    assert response.body == b"/v1.0/invoke/srv/method/info?a=b&fixed=1&id=7|"
    response = await handler(Request("GET", b"/act/7/other", b"", []))
    assert response.body == b"/act/7/other?|"
    for wrong in ("[1]", "{", '{"/{a-b}": "/x"}'):
        with pytest.raises(ValueError, match="invalid 'routes'"):
            await alias(wrong)
