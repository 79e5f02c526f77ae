"""Access control: each sentence of the rules, and the whole of them against a slow model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_common.grpc.errors import RpcError
from dapr_common.security.spiffe import SpiffeId
from dapr_sidecar.blocks.access_control import (
    AccessControl,
    AccessControlError,
    build,
)

CALLER = "spiffe://public/ns/default/caller"


def operation(name: str, *verbs: str, action: str = "allow") -> dict[str, Any]:
    return {"name": name, "httpVerb": list(verbs), "action": action}


def rules(
    *operations: dict[str, Any],
    http: bool = True,
    default: str | None = "deny",
    overall: str = "deny",
) -> AccessControl:
    policy: dict[str, Any] = {"appId": "caller", "namespace": "default", "trustDomain": "public"}
    policy["operations"] = list(operations)
    if default is not None:
        policy["defaultAction"] = default
    control = build({"defaultAction": overall, "policies": [policy]}, http=http)
    assert control is not None
    return control


def allowed(
    control: AccessControl, name: str, verb: str = "GET", identity: str | None = CALLER
) -> bool:
    try:
        control.check(SpiffeId.parse(identity) if identity else None, name, verb)
    except RpcError:
        return False
    return True


# --- matching -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "yes", "no"),
    [
        # Equal text, and everything below a node with an action.
        (["/a"], ["a", "/a", "a/b", "a/b/c"], ["", "b", "ab", "b/a"]),
        (["/a/b"], ["a/b", "a/b/c"], ["a", "a/c", "b"]),
        (["a/b"], ["a/b"], ["a"]),
        (["/"], ["", "/"], ["a"]),
        # ``/*`` is one last segment, or none.
        (["/a/*"], ["a/x", "a"], ["a/x/y", "b"]),
        (["/*"], ["a", ""], ["a/b"]),
        (["/a/*/c"], [], ["a/b/c", "a/b", "a"]),
        # ... also for a call that spells it out.
        (["/a/*"], ["a/*"], ["a/*/secret", "a/*/x/y"]),
        (["/a/*/c"], ["a/*/c"], ["a/*"]),
        # ``/**`` is everything below, but not nothing.
        (["/b/**"], ["b/x", "b/x/y/z"], ["b", "c"]),
        (["/**"], ["a", "a/b", ""], []),
        (["/b/**/c"], ["b/x/c", "b/x/c/d"], ["b/x", "b/x/y/c"]),
        # Other segments are globs.
        (["/v*/o-*"], ["v/o-", "v2/o-7", "v2/o-7/below"], ["v2/o", "x/o-"]),
        (["/*x"], ["x", "ax"], ["xa", "a"]),
        (["/a*b*c"], ["abc", "a1b2c", "abbcc"], ["ab", "acb", "abcd"]),
        (["/a***c"], ["ac", "abc"], ["ab"]),
        (["/a.c"], ["a.c"], ["abc"]),
        (["/*-*"], ["-", "a-b"], ["ab"]),
        # The first child that fits is the way; there is no way back.
        (["/a*/x", "/ab/y"], ["ab/x"], ["ab/y"]),
        (["/ab/y", "/a*/x"], ["ab/y"], ["ab/x"]),
        (["/**/x", "/a"], ["q/x"], ["a"]),
        # ``/*`` is passed over for a segment that is not the last.
        (["/*", "/a/b"], ["a/b", "a"], ["a/c"]),
        # Slashes around a name say nothing.
        (["//a/"], ["a"], []),
    ],
)
@pytest.mark.parametrize("http", [True, False])
def test_names(names: list[str], yes: list[str], no: list[str], http: bool) -> None:
    control = rules(*[operation(name, "*") for name in names], http=http)
    verb = "GET" if http else "NONE"
    assert [name for name in yes if not allowed(control, name, verb)] == []
    assert [name for name in no if allowed(control, name, verb)] == []


def test_the_first_of_two_with_one_name_counts() -> None:
    control = rules(operation("/x", "GET"), operation("/x", "POST"), operation("/X", "*"))
    assert allowed(control, "x", "GET")
    assert not allowed(control, "x", "POST")


def test_http_apps_ignore_the_case_of_names() -> None:
    assert allowed(rules(operation("/Ab/*", "GET")), "aB/x")
    control = rules(operation("/Ab", "GET"), http=False)
    assert allowed(control, "Ab", "NONE")
    assert not allowed(control, "ab", "NONE")


@pytest.mark.parametrize(
    ("verbs", "verb", "action", "default", "wanted"),
    [
        (["GET"], "GET", "allow", "deny", True),
        (["GET"], "POST", "allow", "deny", False),
        (["GET"], "POST", "deny", "allow", True),
        (["*"], "POST", "allow", "deny", True),
        (["*"], "POST", "deny", "allow", False),
        (["GET", "*"], "PUT", "allow", "deny", True),
        ([], "GET", "allow", "deny", False),
        (["*"], "NONE", "allow", "deny", False),
        (["*"], "NONE", "deny", "allow", True),
        (["GET"], "GET", "Allow", "deny", True),
        (["GET"], "GET", "", "allow", False),
    ],
)
def test_verbs_of_http_apps(
    verbs: list[str], verb: str, action: str, default: str, wanted: bool
) -> None:
    control = rules(operation("/x", *verbs, action=action), default=default)
    assert allowed(control, "x", verb) is wanted


def test_grpc_apps_have_no_verbs() -> None:
    control = rules(operation("/s/M", "PUT"), operation("/s/N", action="deny"), http=False)
    assert allowed(control, "/s/M", "NONE")
    assert not allowed(control, "/s/N", "NONE")


@pytest.mark.parametrize("default", [None, "", "allow", "deny", "DENY"])
@pytest.mark.parametrize("overall", ["allow", "deny"])
def test_defaults(default: str | None, overall: str) -> None:
    control = rules(operation("/x", "GET"), default=default, overall=overall)
    inner = (default or overall).lower() == "allow"
    assert allowed(control, "other") is inner
    # The policy's word counts for the caller it names only.
    for identity in (
        None,
        "spiffe://elsewhere/ns/default/caller",
        "spiffe://public/ns/other/caller",
        "spiffe://public/ns/default/else",
    ):
        assert allowed(control, "x", identity=identity) is (overall == "allow")


def test_what_follows_the_app_id_in_an_identity_does_not_matter() -> None:
    control = rules(overall="deny", default="allow")
    assert allowed(control, "x", identity=CALLER + "/further/segments")


def test_the_refusal_says_who_and_what() -> None:
    for identity in (CALLER, None):
        with pytest.raises(RpcError) as failure:
            rules().check(SpiffeId.parse(identity) if identity else None, "a/x/y", "GET")
        assert failure.value.message == (
            f"access control policy has denied access to id: {identity or ''} "
            "operation: a/x/y verb: GET"
        )


def test_long_names_are_matched_as_quickly_as_short_ones() -> None:
    control = rules(operation("/" + "*a" * 20 + "*b", "*"))
    started = time.perf_counter()
    assert not allowed(control, "a" * 8000)
    assert time.perf_counter() - started < 10  # going back and forth it would take for ever


# --- loading ------------------------------------------------------------------------------------

POLICY = {"appId": "caller", "namespace": "default", "trustDomain": "public"}


@pytest.mark.parametrize(
    ("section", "named", "unnamed"),
    [
        # No rules at all.
        (None, None, None),
        ({}, None, None),
        ({"defaultAction": "", "trustDomain": "", "policies": []}, None, None),
        ({"policies": None}, None, None),
        # No default: deny, unless the list of policies is there and empty.
        ({"trustDomain": "public"}, False, False),
        ({"trustDomain": "public", "policies": None}, False, False),
        ({"trustDomain": "public", "policies": []}, True, True),
        ({"policies": [POLICY]}, False, False),
        # A default, however it is written.
        ({"defaultAction": "ALLOW"}, True, True),
        ({"defaultAction": "Deny"}, False, False),
        ({"defaultAction": "nonsense"}, False, False),
        (
            {"defaultAction": "deny", "policies": [{**POLICY, "defaultAction": "allow"}]},
            True,
            False,
        ),
        (
            {"defaultAction": "allow", "policies": [{**POLICY, "defaultAction": "deny"}]},
            False,
            True,
        ),
    ],
)
def test_loading(section: dict[str, Any] | None, named: bool | None, unnamed: bool | None) -> None:
    control = build(section, http=True)
    if named is None:
        assert control is None
        return
    assert control is not None
    assert allowed(control, "x") is named
    assert allowed(control, "x", identity=None) is unnamed


@pytest.mark.parametrize("missing", ["appId", "namespace", "trustDomain"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_policy_must_name_its_caller(missing: str, empty: bool) -> None:
    policy: dict[str, Any] = dict(POLICY)
    del policy[missing]
    if empty:
        policy[missing] = ""
    with pytest.raises(AccessControlError, match=f"policy 1 misses '{missing}'"):
        build({"defaultAction": "allow", "policies": [POLICY, policy]}, http=True)


# --- the model ----------------------------------------------------------------------------------
# The rules once more, as they are written down: nodes are looked for in the list of operations.


@dataclass(frozen=True)
class Rule:
    name: str
    verbs: tuple[str, ...]
    action: str


def parts(name: str) -> tuple[str, ...]:
    return tuple("/" + part for part in name.strip("/").split("/"))


def fits(text: str, segment: str, last: bool) -> bool:
    if text in (segment, "/**"):
        return True
    if text == "/*":
        return last
    return fnmatchcase(segment, text)


def model_rule(listed: list[Rule], name: str) -> Rule | None:
    segments, path = parts(name), ()
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        children = [parts(r.name)[index] for r in listed if parts(r.name)[:index] == path
                    and len(parts(r.name)) > index]  # fmt: skip
        found = [text for text in children if fits(text, segment, last)]
        if not found:
            return None
        path = (*path, found[0])
        ended = [r for r in listed if parts(r.name) == path]
        if ended and (last or found[0] != "/*"):
            return ended[0]
    below = [r for r in listed if parts(r.name) == (*path, "/*")]
    return below[0] if below else None


def model(listed: list[Rule], name: str, verb: str, default: str, http: bool) -> bool:
    if http:
        listed = [Rule(r.name.lower(), r.verbs, r.action) for r in listed]
        name = name.lower()
    rule = model_rule(listed, name)
    if rule is None:
        return default == "allow"
    if not http:
        return rule.action == "allow"
    if verb != "NONE" and (verb in rule.verbs or "*" in rule.verbs):
        return rule.action == "allow"
    return default == "allow"


SEGMENT = st.sampled_from(["a", "b", "ab", "A", "*", "**", "a*", "*b", "*a*"])
NAME = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)
ACTION = st.sampled_from(["allow", "deny"])
RULE = st.builds(
    Rule, NAME, st.lists(st.sampled_from(["GET", "POST", "*"]), max_size=2).map(tuple), ACTION
)


@given(
    st.lists(RULE, max_size=6),
    NAME,
    st.sampled_from(["GET", "POST", "NONE"]),
    ACTION,
    st.booleans(),
)
def test_decisions_agree_with_the_model(
    listed: list[Rule], name: str, verb: str, default: str, http: bool
) -> None:
    operations = [operation(r.name, *r.verbs, action=r.action) for r in listed]
    control = rules(*operations, http=http, default=default)
    assert allowed(control, name, verb) is model(listed, name, verb, default, http)
