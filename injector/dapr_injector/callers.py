"""Who may make pods that get a sidecar: service accounts by pattern, and administrators."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_USER_PREFIX = "system:serviceaccount:"
_ADMINISTRATORS = "system:masters"
_GLOB_CHARACTERS = frozenset("*?[")
_TOKENS = re.compile(r"\[\^?[^\]]+\]|.", re.DOTALL)
_SPECIAL_IN_SETS = re.compile(r"[\[\\&~|]")


class PatternError(ValueError):
    """A text is no pattern of service accounts."""


@dataclass(frozen=True, slots=True)
class AccountPattern:
    """``namespace:name``, where each part may be a glob."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> AccountPattern:
        """Raises ``PatternError``."""
        namespace, colon, name = text.partition(":")
        if not colon or ":" in name:
            raise PatternError(f'"{text}": expected namespace:name with exactly one colon')
        for part in (namespace, name):
            _expression(part)
        return cls(namespace, name)

    @property
    def is_exact(self) -> bool:
        """Whether it names one account."""
        return _GLOB_CHARACTERS.isdisjoint(self.namespace + self.name)

    def matches(self, namespace: str, name: str) -> bool:
        """Whether it covers an account."""
        return bool(
            re.fullmatch(_expression(self.namespace), namespace)
            and re.fullmatch(_expression(self.name), name)
        )


BUILT_IN: tuple[AccountPattern, ...] = (
    *(
        AccountPattern("kube-system", f"{controller}-controller")
        for controller in (
            *("replicaset", "replication", "deployment", "cronjob", "job", "statefulset"),
            "daemon-set",
        )
    ),
    AccountPattern("openshift-operator-lifecycle-manager", "olm-operator-serviceaccount"),
    AccountPattern("tekton-pipelines", "tekton-pipelines-controller"),
    AccountPattern("mirrord", "mirrord-operator"),
)


def parse_patterns(text: str) -> list[AccountPattern]:
    """A comma-separated list; empty entries are skipped. Raises ``PatternError``."""
    return [AccountPattern.parse(entry) for part in text.split(",") if (entry := part.strip())]


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Who sent an admission request, as the API server knows it."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()


class Callers:
    """The list in force. ``uids`` are those of the accounts that are named exactly."""

    def __init__(self, patterns: Iterable[AccountPattern], uids: Iterable[str] = ()) -> None:
        self.patterns = tuple(patterns)
        self._uids = frozenset(uids) - {""}

    @property
    def exact_accounts(self) -> list[AccountPattern]:
        """The accounts whose UIDs can be looked up."""
        return [pattern for pattern in self.patterns if pattern.is_exact]

    def allow(self, user: UserInfo) -> bool:
        """Whether pods of this user are looked at."""
        if user.uid in self._uids or _ADMINISTRATORS in user.groups:
            return True
        if not user.username.startswith(_USER_PREFIX):
            return False
        namespace, _, name = user.username.removeprefix(_USER_PREFIX).partition(":")
        return any(pattern.matches(namespace, name) for pattern in self.patterns)


def _expression(glob: str) -> str:
    """A glob as a regular expression; no wildcard matches a slash. Raises ``PatternError``."""
    pieces = _TOKENS.findall(glob)
    if "[" in pieces:
        raise PatternError(f'"{glob}": a set that begins with [ has no end')
    expression = "".join(map(_part, pieces))
    try:
        re.compile(expression)
    except re.error as error:
        raise PatternError(f'"{glob}": {error}') from error
    return expression


def _part(piece: str) -> str:
    if piece in "*?":
        return "[^/]*" if piece == "*" else "[^/]"
    if piece.startswith("["):
        members = _SPECIAL_IN_SETS.sub(r"\\\g<0>", piece[1:-1])
        return f"(?!/)[{members}]"
    return re.escape(piece)
