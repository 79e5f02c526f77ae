"""Rego policies."""

from __future__ import annotations

import json
import sys
import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from harness.pipeline import Piped, Wrapped
from harness.stand_in_identity_provider import SigningKey

from dapr_sidecar.components.metadata import SettingsError
from dapr_sidecar.components.middleware.opa import OpaMiddleware
from dapr_sidecar.components.middleware.rego import Policy, PolicyError
from dapr_sidecar.components.registry import UnknownComponentError, component_class

DEFAULT_DENY = "package http\ndefault allow = false\n"
SECRET = "k" * 32


async def with_policy(piped: Wrapped, rego: str, **more: str) -> Piped:
    return await piped(OpaMiddleware, "policy", rego=rego, **more)


def decided(body: str, given: dict[str, Any] | None = None) -> Any:
    return Policy(DEFAULT_DENY + body).allow(given or {})


async def test_what_the_policy_sees(piped: Wrapped) -> None:
    rego = (
        "package http\n"
        'allow = {"allow": true, "additional_headers": {"x-seen": json.marshal(input)}} { true }'
    )
    pipe = await with_policy(piped, rego, includedHeaders="X-Mine, authorization", readBody="true")
    answer = await pipe.call(
        "//v2/my%20path/?a=1&a=2&b=",
        "POST",
        b'body "x"\0\xc3\xa9\xff',
        x_mine="me",
        authorization="Bearer x",
        x_other="no",
    )
    assert json.loads(answer.json["headers"]["x-seen"].encode("latin-1")) == {
        "request": {
            "method": "POST",
            "path": "/v2/my path",
            "path_parts": ["v2", "my path"],
            "raw_query": "a=1&a=2&b=",
            "query": {"a": ["1", "2"], "b": [""]},
            "headers": {"X-Mine": "me", "Authorization": "Bearer x"},
            "scheme": "http",
            "body": 'body "x"\0é\ufffd',
        }
    }


async def test_nothing_more_than_was_asked_for(piped: Wrapped) -> None:
    rego = DEFAULT_DENY + 'allow { input.request.headers == {}; input.request.body == "" }'
    pipe = await with_policy(piped, rego)
    answer = await pipe.call("/", "POST", b"kept", x_mine="me")
    assert (answer.status, answer.json["body"]) == (200, "kept")


@pytest.mark.parametrize(
    ("allow", "status", "headers"),
    [
        ("true", 200, {}),
        ("false", 403, {}),
        ('{"allow": false}', 403, {}),
        ('{"allow": false, "status_code": 401}', 401, {}),
        (
            '{"status_code": 301, "additional_headers": {"Location": "https://x.example"}}',
            301,
            {"location": "https://x.example"},
        ),
        ('{"allow": "true"}', 403, {}),
        ('{"allow": false, "status_code": 9999}', 403, {}),
        ('{"allow": false, "additional_headers": {"a b": "x", "n": 1}}', 403, {"n": "1"}),
        (
            '{"allow": false, "additional_headers": {"x": "a\\r\\nSet-Cookie: b"}}',
            403,
            {"x": "a  Set-Cookie: b"},
        ),
        ("17", 403, {}),
        ('"true"', 403, {}),
    ],
)
async def test_decisions(piped: Wrapped, allow: str, status: int, headers: dict[str, str]) -> None:
    pipe = await with_policy(piped, f"package http\nallow = {allow} {{ true }}")
    answer = await pipe.call()
    assert answer.status == status
    assert headers.items() <= answer.headers.items()


async def test_undefined_is_denied_with_the_stated_status(piped: Wrapped) -> None:
    rego = 'package http\nallow { input.request.method == "GET" }'
    pipe = await with_policy(piped, rego, defaultStatus="404")
    assert (await pipe.call()).status == 200
    assert (await pipe.call(method="POST")).status == 404


async def test_a_clients_header_does_not_stand_beside_the_policys(piped: Wrapped) -> None:
    allow = '{"allow": true, "additional_headers": {"X-Role": ["a", "b"]}}'
    rego = f"package http\nallow = {allow} {{ true }}"
    answer = await (await with_policy(piped, rego)).call(x_role="admin")
    assert answer.json["headers"]["x-role"] == "a, b"


DOCUMENTED = """
package http

default allow = true

allow = {
    "status_code": 301,
    "additional_headers": {"location": "https://my.site/authorize"}
} {
    not jwt.payload["my-claim"]
}

allow = {
    "allow": true,
    "additional_headers": {"x-my-claim": my_claim}
} {
    my_claim := jwt.payload["my-claim"]
}
jwt = { "payload": payload } {
    auth_header := input.request.headers["Authorization"]
    [_, jwt] := split(auth_header, " ")
    [_, payload, _] := io.jwt.decode(jwt)
}
"""


async def test_a_policy_as_documented(piped: Wrapped) -> None:
    pipe = await with_policy(piped, DOCUMENTED, includedHeaders="Authorization")
    token = jwt.encode({"my-claim": 'he"llo'}, SECRET, algorithm="HS256")
    answer = await pipe.call(authorization=f"Bearer {token}")
    assert answer.json["headers"]["x-my-claim"] == 'he"llo'
    for refused in ({}, {"authorization": "Bearer no.to.ken"}, {"authorization": "x"}):
        answer = await pipe.call(**refused)
        assert (answer.status, answer.headers["location"]) == (301, "https://my.site/authorize")


@pytest.mark.parametrize(
    "text",
    [
        "package http\nimport rego.v1\ndefault allow := false\nallow if { input.x == 1 }",
        "package http\nimport future.keywords\nallow if { 1 in [input.x] }",
        "package http\ndefault allow := false\nallow if input.x in {1, 2}",
    ],
)
def test_the_newer_syntax(text: str) -> None:
    assert Policy(text).allow({"x": 1}) is True


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("package http\n\nallow = {\n  foo(\n}\n", "line 5: "),
        ("package http\nimport rego.v1\nallow if {\n  x == 1\n}", "line 4: .*undefined variable"),
        ("package http\nallow if {\n  1 in\n}", "line [34]: "),
        (DEFAULT_DENY + "allow {\n  input.x == 1\n  nosuch.f(1)\n}", r"line 5: .*'nosuch\.f'"),
        (DEFAULT_DENY + 'allow { http.send({"url": "x"}).status == 1 }', r"line 3: .*'http\.send'"),
        (DEFAULT_DENY + "allow { allow }", "line 3: .*recursion"),
        ("package other\nallow = true", "no rule 'allow' in package 'http'"),
        ("package http\nother = true", "no rule 'allow' in package 'http'"),
        ("nonsense", "line 1: "),
    ],
)
async def test_broken_policies_are_not_loaded(piped: Wrapped, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="(?s)'rego': .*" + reason) as error:
        await with_policy(piped, text)
    assert "backtrace" not in str(error.value)


def test_what_looks_like_a_call() -> None:
    with pytest.raises(PolicyError, match=r"line 3: .*'nosuch'"):
        decided("allow { nosuch(1) }")
    text = """
      f(x) = y { y := x }
      g(x) := x
      # nosuch(1)
      allow { f("nosuch(1)") == `nosuch(1)`; not (input.x) }
      allow { data.http.g(input.y) }
    """
    assert (
        Policy("package http\nimport rego.v1\nimport data.lib as l\nallow if l.x").allow({}) is None
    )
    for given, expected in (({"x": False}, True), ({"x": 1}, False), ({"x": 1, "y": True}, True)):
        assert Policy(DEFAULT_DENY + text).allow(given) is expected


async def test_a_policy_that_fails_denies(piped: Wrapped) -> None:
    rego = (
        "package http\ndefault allow = true\nallow = false { json.unmarshal(input.request.body) }"
    )
    pipe = await with_policy(piped, rego, readBody="true", defaultStatus="418")
    assert (await pipe.call(body=b"{", method="POST")).status == 418


async def test_what_a_policy_prints_is_kept_for_nobody(piped: Wrapped) -> None:
    rego = DEFAULT_DENY + 'allow { print("x"); json.unmarshal(input.request.body) }'
    pipe = await with_policy(piped, rego, readBody="true")
    await pipe.call(body=b"{", method="POST")
    assert pipe.middleware._policy._engine.take_prints() == []


async def test_a_fake_engine_that_panics_denies(piped: Wrapped) -> None:
    class PanicException(BaseException):
        """What the engine's binding raises for a defect of its own; none is known to ask for."""

    def panic(_: object) -> None:
        raise PanicException("index out of range")

    pipe = await with_policy(piped, DEFAULT_DENY + "allow { true }")
    engine = pipe.middleware._policy._engine
    pipe.middleware._policy._engine = SimpleNamespace(
        set_input=engine.set_input, eval_rule=panic, take_prints=engine.take_prints
    )
    assert (await pipe.call()).status == 403


def test_a_missing_engine_is_told_by_the_name_it_is_installed_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "regorus", None)
    for name in ("rego", "opa"):
        monkeypatch.delitem(sys.modules, f"dapr_sidecar.components.middleware.{name}")
    with pytest.raises(UnknownComponentError, match="package 'gordon-to-regorus'"):
        component_class("middleware.http.opa", "v1")


@pytest.mark.parametrize("status", ["100", "999", "x"])
async def test_settings_of_no_use(piped: Wrapped, status: str) -> None:
    with pytest.raises(SettingsError, match="defaultStatus"):
        await with_policy(piped, DEFAULT_DENY, defaultStatus=status)


# --- functions that the engine lacks --------------------------------------------------------------


def test_signatures() -> None:
    shared = jwt.encode({"a": 1}, SECRET, algorithm="HS256")
    key = SigningKey("one")
    signed = key.sign({"a": 1})
    keys = json.dumps({"keys": [key.public]})
    cases = [
        (f'io.jwt.verify_hs256("{shared}", "{SECRET}")', True),
        (f'io.jwt.verify_hs256("{shared}", "another secret of good length!!!")', False),
        (f"io.jwt.verify_es256(`{signed}`, `{keys}`)", True),
        (f"io.jwt.verify_es256(`{signed}`, `{json.dumps(key.public)}`)", True),
        (f"io.jwt.verify_es256(`{SigningKey('one').sign({})}`, `{keys}`)", False),
        (f"io.jwt.verify_rs256(`{signed}`, `{keys}`)", False),
        ('io.jwt.verify_es256("nonsense", "nonsense")', False),
    ]
    for call, expected in cases:
        assert decided(f"allow = x {{ x := {call} }}") is expected


def test_decode_verify() -> None:
    now = int(time.time())
    key = SigningKey("one")
    keys = json.dumps({"keys": [key.public]})

    def verdict(claims: dict[str, Any], **wanted: Any) -> Any:
        given = {"token": key.sign(claims), "wanted": {"cert": keys, **wanted}}
        found = decided("allow = x { x := io.jwt.decode_verify(input.token, input.wanted) }", given)
        return found[0]

    assert verdict({"a": 1})
    assert verdict({"iss": "me", "aud": ["a", "b"], "exp": now + 60}, iss="me", aud="b")
    assert not verdict({"iss": "me"}, iss="you")
    assert not verdict({"aud": "a"})  # an audience that nobody asked for
    assert not verdict({}, aud="a")
    assert not verdict({"exp": now - 1})
    assert not verdict({"nbf": now + 60})
    assert verdict({"exp": now - 60}, time=(now - 120) * 10**9)
    assert not verdict({"exp": "never"})
    assert not verdict({}, alg="RS256")
    assert not verdict({}, cert="nonsense")


def test_digests_and_old_names() -> None:
    assert decided('allow = x { x := crypto.sha256("a") }').startswith("ca978112ca1bbdca")
    assert len(decided('allow = x { x := crypto.hmac.sha512("a", "k") }')) == 128
    assert decided('allow { re_match("^/v[0-9]+", "/v1") }') is True
    assert decided('allow { re_match("(", "/v1") }') is False
