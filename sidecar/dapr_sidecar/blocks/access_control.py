"""Access control: which applications may call which operations of this one. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dapr_common.errors import GrpcCode
from dapr_common.grpc.errors import RpcError
from dapr_common.security.spiffe import SpiffeId
from dapr_sidecar.telemetry.base import Metrics

_ALLOW, _DENY = "allow", "deny"
_ANY_LAST, _ANY_BELOW = "/*", "/**"


class AccessControlError(ValueError):
    """The configuration's access control cannot be used; the text says what to mend."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What one ``operations`` entry says."""

    action: str
    verbs: frozenset[str]

    def verdict(self, verb: str, default: str, *, http: bool) -> str:
        """The action for a verb."""
        if not http:
            return self.action
        if verb == "NONE":
            return default
        return self.action if verb in self.verbs or "*" in self.verbs else default


class _Node:
    """One segment of an operation's name, with its leading slash."""

    __slots__ = ("children", "operation", "pattern", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.operation: Operation | None = None
        self.children: list[_Node] = []
        self.pattern: re.Pattern[str] | None = None
        if "*" in text and text not in (_ANY_LAST, _ANY_BELOW):
            self.pattern = _glob(text)

    def fits(self, segment: str, last: bool) -> bool:
        if self.text == segment or self.text == _ANY_BELOW:
            return True
        if self.text == _ANY_LAST:
            return last
        return self.pattern is not None and self.pattern.fullmatch(segment) is not None


class OperationTrie:
    """Finds the operation of a call; children are tried in the order of their declaration."""

    def __init__(self) -> None:
        self._root = _Node("")

    def add(self, name: str, operation: Operation) -> None:
        """Add an operation; of two with one name the first counts."""
        node = self._root
        for segment in _segments(name):
            child = next((c for c in node.children if c.text == segment), None)
            if child is None:
                child = _Node(segment)
                node.children.append(child)
            node = child
        if node.operation is None:
            node.operation = operation

    def find(self, name: str) -> Operation | None:
        """The operation that covers a name."""
        node = self._root
        segments = _segments(name)
        final = len(segments) - 1
        for index, segment in enumerate(segments):
            last = index == final
            child = next((c for c in node.children if c.fits(segment, last)), None)
            if child is None:
                return None
            if child.operation is not None and (last or child.text != _ANY_LAST):
                # An operation covers what lies below it, too; ``/*`` never does, not even when
                # the call spells it out.
                return child.operation
            node = child
        below = next((c for c in node.children if c.text == _ANY_LAST), None)
        return None if below is None else below.operation


def _glob(text: str) -> re.Pattern[str]:
    """``*`` is any run of characters.

    Each part is taken where it first fits and never moved again, so that no call, however it is
    spelled, makes matching slow.
    """
    first, *middle, last = map(re.escape, text.split("*"))
    parts = "".join([f"(?>.*?{part})" for part in middle if part])
    return re.compile(f"{first}{parts}.*{last}", re.DOTALL)


def _segments(name: str) -> list[str]:
    return ["/" + segment for segment in name.strip("/").split("/")]


@dataclass(slots=True)
class AppPolicy:
    """One ``policies`` entry."""

    trust_domain: str
    default_action: str
    operations: OperationTrie = field(default_factory=OperationTrie)


class AccessControl:
    """The rules of one sidecar."""

    def __init__(
        self,
        default_action: str,
        policies: Mapping[tuple[str, str], AppPolicy],
        *,
        http: bool,
        metrics: Metrics | None = None,
    ) -> None:
        self._default = default_action
        self._policies = policies
        self._http = http
        self._metrics = metrics

    def check(self, caller: SpiffeId | None, operation: str, verb: str) -> None:
        """Refuse what is not allowed. Raises ``RpcError`` (permission denied).

        ``caller`` is the peer's identity, ``None`` without mutual TLS; ``verb`` is ``NONE`` for a
        gRPC call.
        """
        if self._allows(caller, operation, verb):
            return
        raise RpcError(
            GrpcCode.PERMISSION_DENIED,
            f"access control policy has denied access to id: {caller or ''} "
            f"operation: {operation} verb: {verb}",
        )

    def _allows(self, caller: SpiffeId | None, operation: str, verb: str) -> bool:
        if caller is None:
            return self._default == _ALLOW
        policy = self._policies.get((caller.app_id, caller.namespace))
        if policy is None or policy.trust_domain != caller.trust_domain:
            return self._counted("global", self._default, caller)
        default = policy.default_action or self._default
        name = "/" + operation.lstrip("/")
        found = policy.operations.find(name.lower() if self._http else name)
        if found is None:
            return self._counted("app", default, caller)
        return self._counted("app", found.verdict(verb, default, http=self._http), caller)

    def _counted(self, scope: Any, action: str, caller: SpiffeId) -> bool:
        allowed = action.lower() == _ALLOW
        if self._metrics is not None:
            self._metrics.acl(scope, allowed, f"{caller.trust_domain}/{caller.namespace}")
        return allowed


def build(
    section: Mapping[str, Any] | None, *, http: bool, metrics: Metrics | None = None
) -> AccessControl | None:
    """The rules of a Configuration's ``accessControl``; ``None``: everything is allowed.

    ``http`` says that the app speaks HTTP. Raises ``AccessControlError``.
    """
    if not section:
        return None
    default = str(section.get("defaultAction") or "").lower()
    policies: Sequence[Mapping[str, Any]] | None = section.get("policies")
    if not default and not section.get("trustDomain") and not policies:
        return None
    if not default:
        default = _ALLOW if policies is not None and not policies else _DENY
    built = {}
    for index, policy in enumerate(policies or ()):
        key, value = _policy(policy, index, http=http)
        built[key] = value
    return AccessControl(default, built, http=http, metrics=metrics)


def _policy(
    policy: Mapping[str, Any], index: int, *, http: bool
) -> tuple[tuple[str, str], AppPolicy]:
    for name in ("appId", "namespace", "trustDomain"):
        if not policy.get(name):
            raise AccessControlError(
                f"invalid access control policies: policy {index} misses '{name}': "
                "appId, namespace and trustDomain are required"
            )
    built = AppPolicy(str(policy["trustDomain"]), str(policy.get("defaultAction") or "").lower())
    for operation in policy.get("operations") or ():
        name = "/" + str(operation.get("name") or "").lstrip("/")
        verbs = frozenset(str(verb).upper() for verb in operation.get("httpVerb") or ())
        action = str(operation.get("action") or "").lower()
        built.operations.add(name.lower() if http else name, Operation(action, verbs))
    return (str(policy["appId"]), str(policy["namespace"])), built
