"""Whose pods get a sidecar."""

from __future__ import annotations

import pytest

from dapr_injector.callers import (
    BUILT_IN,
    AccountPattern,
    Callers,
    PatternError,
    UserInfo,
    parse_patterns,
)


@pytest.mark.parametrize(
    ("pattern", "account", "matches"),
    [
        ("shop:runner", "shop:runner", True),
        ("shop:runner", "shop:runner2", False),
        ("shop:runner", "shop2:runner", False),
        ("team-*:*", "team-a:anybody", True),
        ("team-*:*", "team:anybody", False),
        ("*:ci-?", "x:ci-1", True),
        ("*:ci-?", "x:ci-12", False),
        ("*:ci-?", "x:ci-", False),
        ("*:ci-[0-3]", "x:ci-3", True),
        ("*:ci-[0-3]", "x:ci-4", False),
        ("*:ci-[^0-3]", "x:ci-4", True),
        ("*:ci-[^0-3]", "x:ci-/", False),
        ("*:ci-[&~|\\]", "x:ci-\\", True),
        ("*:*", "x:a/b", False),
        ("*:a?b", "x:a/b", False),
        ("*:a.b", "x:axb", False),
        ("*:*", "x:a:b", True),
        (":", ":", True),
    ],
)
def test_a_pattern_covers_accounts_part_by_part(pattern: str, account: str, matches: bool) -> None:
    callers = Callers([AccountPattern.parse(pattern)])
    assert callers.allow(UserInfo(username=f"system:serviceaccount:{account}")) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shop", '"shop": expected namespace:name with exactly one colon'),
        ("a:b:c", '"a:b:c": expected namespace:name with exactly one colon'),
        ("a:[b", '"[b": a set that begins with [ has no end'),
        ("a:[z-a]", '"[z-a]": bad character range z-a'),
    ],
)
def test_what_is_no_pattern_is_refused_with_its_text(text: str, message: str) -> None:
    with pytest.raises(PatternError) as raised:
        AccountPattern.parse(text)
    assert str(raised.value).startswith(message)


def test_empty_entries_of_a_list_are_skipped() -> None:
    assert parse_patterns(" a:b ,, c:* ,") == [AccountPattern("a", "b"), AccountPattern("c", "*")]


def test_only_service_accounts_match_patterns() -> None:
    callers = Callers([AccountPattern.parse("*:*")])
    assert not callers.allow(UserInfo(username="kubernetes-admin"))
    assert not callers.allow(UserInfo(username="shop:runner"))
    assert not callers.allow(UserInfo())


def test_administrators_and_known_uids_are_allowed_whatever_their_name() -> None:
    callers = Callers([], uids=["u1", ""])
    assert callers.allow(UserInfo(groups=("system:authenticated", "system:masters")))
    assert callers.allow(UserInfo(username="renamed", uid="u1"))
    assert not callers.allow(UserInfo(username="renamed", uid="u2"))
    assert not callers.allow(UserInfo(username="nobody", uid=""))


def test_accounts_to_look_up_are_those_named_exactly() -> None:
    callers = Callers([*BUILT_IN, *parse_patterns("a:b,a:*,?:b,[x]:b")])
    assert callers.exact_accounts == [*BUILT_IN, AccountPattern("a", "b")]


@pytest.mark.parametrize(
    "controller",
    ["replicaset", "replication", "deployment", "cronjob", "job", "statefulset", "daemon-set"],
)
def test_the_clusters_own_controllers_are_built_in(controller: str) -> None:
    user = UserInfo(username=f"system:serviceaccount:kube-system:{controller}-controller")
    assert Callers(BUILT_IN).allow(user)
    assert not Callers([]).allow(user)
