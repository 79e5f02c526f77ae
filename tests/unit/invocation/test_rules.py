"""The pure parts: targets, methods, access control, middlewares."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.http.messages import Request, Response
from dapr_sidecar.blocks.access_control import AccessControlError, build, parse_caller
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


# --- access control -----------------------------------------------------------------------------

CALLER = "spiffe://public/ns/default/caller"


def rules(*operations: tuple[str, list[str], str], http: bool = True, default: str = "deny"):  # type: ignore[no-untyped-def]
    listed = [{"name": n, "httpVerb": v, "action": a} for n, v, a in operations]
    policy = {
        "appId": "caller",
        "namespace": "default",
        "trustDomain": "public",
        "defaultAction": default,
        "operations": listed,
    }
    return build({"defaultAction": "deny", "policies": [policy]}, http=http)


def allowed(control, operation: str, verb: str = "GET", identity: str | None = CALLER) -> bool:  # type: ignore[no-untyped-def]
    try:
        control.check(identity, operation, verb)
    except RpcError as error:
        return error.code is not GrpcCode.PERMISSION_DENIED
    return True


def test_observed_decisions() -> None:
    control = rules(("/ok", ["GET"], "allow"), ("/a/*", ["*"], "allow"), ("/b/**", ["*"], "allow"))
    for operation in ("ok", "OK", "a/x", "a", "b/x/y/z", "/ok", "ok/below"):
        assert allowed(control, operation), operation
    for operation in ("a/x/y", "other", ""):
        assert not allowed(control, operation), operation
    assert not allowed(control, "ok", "POST")


def test_first_declaration_wins() -> None:
    control = rules(("/w/*", ["*"], "allow"), ("/w/secret", ["*"], "deny"), ("/w/*", ["*"], "deny"))
    assert allowed(control, "w/secret", "PUT")
    control = rules(("/w/secret", ["*"], "deny"), ("/w/*", ["*"], "allow"))
    assert not allowed(control, "w/secret")
    assert allowed(control, "w/public")


def test_globs_inside_segments() -> None:
    control = rules(("/v*/orders-*", ["*"], "allow"))
    assert allowed(control, "v2/orders-7")
    assert allowed(control, "v/orders-")
    assert not allowed(control, "v2/order")


def test_grpc_ignores_verbs_and_keeps_case() -> None:
    control = rules(("/pkg.S/Do", ["GET"], "allow"), http=False)
    assert allowed(control, "/pkg.S/Do", "NONE")
    assert not allowed(control, "/pkg.s/do", "NONE")
    assert not allowed(rules(("/x", ["*"], "allow")), "x", "NONE")


def test_who_is_not_named_gets_the_global_default() -> None:
    control = rules(("/x", ["*"], "allow"))
    assert not allowed(control, "x", identity=None)
    assert not allowed(control, "x", identity="spiffe://other/ns/default/caller")
    assert not allowed(control, "x", identity="spiffe://public/ns/else/caller")
    assert not allowed(control, "x", identity="spiffe://public/ns/default")
    assert allowed(control, "x", identity=CALLER + "/more")
    with pytest.raises(RpcError) as failure:
        control.check(CALLER, "a/x/y", "GET")
    assert failure.value.message == (
        f"access control policy has denied access to id: {CALLER} operation: a/x/y verb: GET"
    )


def test_loading() -> None:
    assert build(None, http=True) is None
    assert build({}, http=True) is None
    assert build({"defaultAction": "", "trustDomain": ""}, http=True) is None
    for section, result in [
        ({"trustDomain": "public"}, False),
        ({"trustDomain": "public", "policies": []}, True),
        ({"defaultAction": "Allow"}, True),
    ]:
        control = build(section, http=True)
        assert control is not None
        assert allowed(control, "x") is result
    for missing in ("appId", "namespace", "trustDomain"):
        policy = {"appId": "a", "namespace": "n", "trustDomain": "t"}
        del policy[missing]
        with pytest.raises(AccessControlError, match=missing):
            build({"defaultAction": "deny", "policies": [policy]}, http=True)


def test_spiffe_ids() -> None:
    assert parse_caller(CALLER)[:3] == ("public", "default", "caller")
    for text in ("", "spiffe://a/ns/b", "spiffe://a/ns//c", "https://a/ns/b/c"):
        with pytest.raises(ValueError, match="invalid SPIFFE ID"):
            parse_caller(text)


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
