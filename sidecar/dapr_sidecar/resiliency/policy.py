"""All policies of a sidecar: which runner a call gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeVar

from dapr_common.kube.resources import Resiliency
from dapr_common.observe.logs import get_logger
from dapr_common.resiliency.policies import BreakerPolicy, RetryPolicy
from dapr_common.resiliency.targets import ACTOR_CACHE_SIZE, APP_CACHE_SIZE, Names
from dapr_sidecar.resiliency import builtin
from dapr_sidecar.resiliency.base import Runner
from dapr_sidecar.resiliency.breaker import BreakerCache, CircuitBreaker, State
from dapr_sidecar.resiliency.report import Flow
from dapr_sidecar.resiliency.runner import PolicyRunner, Surroundings
from dapr_sidecar.resiliency.spec import Spec, SpecError, read_spec

_LOG = get_logger("dapr.runtime.resiliency")
_MAX_TARGETS = 10_000
V = TypeVar("V")
_Suffix = Literal["RetryPolicy", "TimeoutPolicy", "CircuitBreakerPolicy"]


class _Target:
    """The policies of one target, resolved from their names."""

    __slots__ = ("breaker", "breakers", "per_id", "retry", "timeout")

    def __init__(
        self,
        timeout: float | None,
        retry: RetryPolicy | None,
        breaker: BreakerPolicy | None,
        cache_size: int,
        *,
        per_id: bool = False,
    ) -> None:
        self.timeout = timeout if timeout is not None and timeout > 0 else None
        self.retry = retry
        self.breaker = breaker
        self.breakers = BreakerCache(cache_size)
        self.per_id = per_id

    @property
    def empty(self) -> bool:
        return self.timeout is None and self.retry is None and self.breaker is None


class LoadedPolicies:
    """Implements ``Policies`` from resources; a resource that is wrong is logged and left out.

    Circuit breakers live as long as this object.
    """

    def __init__(
        self,
        resources: Iterable[Resiliency] = (),
        app_id: str = "",
        *,
        around: Surroundings | None = None,
    ) -> None:
        self._around = around or Surroundings()
        self._spec = Spec()
        for resource in resources:
            if not resource.scopes or not app_id or app_id in resource.scopes:
                self._load(resource)
        self._breakers: dict[str, CircuitBreaker] = {}
        self._outbound: dict[tuple[str, str], PolicyRunner | None] = {}
        self._inbound: dict[tuple[str, str], PolicyRunner | None] = {}
        self._apps: dict[str, _Target | None] = {}
        self._actors: dict[str, _Target | None] = {}
        self._app_default = self._defaults(["DefaultApp", "Default"], APP_CACHE_SIZE)
        self._actor_default = self._defaults(["DefaultActor", "Default"], ACTOR_CACHE_SIZE)

    def _load(self, resource: Resiliency) -> None:
        try:
            spec = read_spec(resource)
        except SpecError as error:
            _LOG.error("Could not load resiliency policy %s: %s", resource.name, error)
            return
        for name, retry in list(spec.retries.items()):
            if (allowed := builtin.accepted(retry)) is None:
                del spec.retries[name]
            else:
                spec.retries[name] = allowed
        self._spec.merge(spec)
        self._around.report.loaded(resource.name, resource.namespace)
        _LOG.info("Loading Resiliency configuration: %s", resource.name)

    # --- lookups ----------------------------------------------------------------------------

    def component_outbound(self, name: str, kind: str) -> Runner | None:
        try:
            runner = self._outbound[name, kind]
        except KeyError:
            runner = self._component(name, kind, "outbound")
        if runner is not None:
            runner.executed()
        return runner

    def component_inbound(self, name: str, kind: str) -> Runner | None:
        try:
            runner = self._inbound[name, kind]
        except KeyError:
            runner = self._component(name, kind, "inbound")
        if runner is not None:
            runner.executed()
        return runner

    def app(self, app_id: str, endpoint: str) -> Runner | None:
        if not self._spec.apps and self._app_default is None:
            return None
        target = self._target(app_id, self._spec.apps, self._apps, self._app_default)
        if target is None:
            return None
        shown = f"app_{app_id}"
        breaker = None
        if target.breaker is not None:
            breaker = target.breakers.get(endpoint, self._maker(target.breaker, shown))
        runner = PolicyRunner(
            f"endpoint[{app_id}, {endpoint}]",
            self._around,
            timeout=target.timeout,
            retry=target.retry,
            breaker=breaker,
            target=shown,
        )
        runner.executed()
        return runner

    def has_app_target(self, app_id: str) -> bool:
        return app_id in self._spec.apps

    def has_actor_target(self, actor_type: str) -> bool:
        return actor_type in self._spec.actors

    def actor_pre_lock(self, actor_type: str, actor_id: str) -> Runner | None:
        target = self._actor(actor_type)
        if target is None or (target.retry is None and target.breaker is None):
            return None
        shown = f"actor_{actor_type}"
        breaker = None
        if target.breaker is not None:
            key = f"{actor_type}-{actor_id}" if target.per_id else actor_type
            breaker = target.breakers.get(key, self._maker(target.breaker, shown))
        name = f"actor[{actor_type}, {actor_id}]"
        runner = PolicyRunner(name, self._around, retry=target.retry, breaker=breaker, target=shown)
        runner.executed()
        return runner

    def actor_post_lock(self, actor_type: str, actor_id: str) -> Runner | None:
        target = self._actor(actor_type)
        if target is None or target.timeout is None:
            return None
        name = f"actor[{actor_type}, {actor_id}]"
        runner = PolicyRunner(
            name, self._around, timeout=target.timeout, target=f"actor_{actor_type}"
        )
        runner.executed()
        return runner

    def builtin(self, name: str) -> Runner:
        retry = self._spec.retries.get(name) or builtin.BUILT_IN[name]
        return PolicyRunner(name, self._around, retry=retry)

    # --- resolving --------------------------------------------------------------------------

    def _actor(self, actor_type: str) -> _Target | None:
        if not self._spec.actors and self._actor_default is None:
            return None
        return self._target(actor_type, self._spec.actors, self._actors, self._actor_default)

    def _target(
        self,
        name: str,
        given: Mapping[str, Names],
        known: dict[str, _Target | None],
        default: _Target | None,
    ) -> _Target | None:
        try:
            return known[name]
        except KeyError:
            pass
        target: _Target | None
        if (names := given.get(name)) is not None:
            target = self._resolved(names)
        elif default is not None:
            # The policies are shared, the breakers are each target's own.
            target = _Target(default.timeout, default.retry, default.breaker, default.breakers.size)
        else:
            # Names come from callers: what is not configured is not remembered.
            return None
        if target.empty:
            target = None
        if len(known) >= _MAX_TARGETS:
            known.clear()
        known[name] = target
        return target

    def _resolved(self, names: Names) -> _Target:
        spec = self._spec
        return _Target(
            spec.timeouts.get(names.timeout),
            spec.retries.get(names.retry),
            spec.breakers.get(names.breaker),
            names.cache_size,
            per_id=names.per_id,
        )

    def _defaults(self, prefixes: list[str], cache_size: int) -> _Target | None:
        spec = self._spec
        target = _Target(
            _first(spec.timeouts, prefixes, "TimeoutPolicy"),
            _first(spec.retries, prefixes, "RetryPolicy"),
            _first(spec.breakers, prefixes, "CircuitBreakerPolicy"),
            cache_size,
        )
        return None if target.empty else target

    def _component(self, name: str, kind: str, flow: Flow) -> PolicyRunner | None:
        given, known, word = (
            (self._spec.outbound, self._outbound, "Outbound")
            if flow == "outbound"
            else (self._spec.inbound, self._inbound, "Inbound")
        )
        target: _Target | None
        if name in given:
            target = self._resolved(given[name])
        else:
            target = self._defaults(
                [
                    f"Default{kind}Component{word}",
                    f"DefaultComponent{word}",
                    "DefaultComponent",
                    "Default",
                ],
                1,
            )
        runner: PolicyRunner | None = None
        if target is not None and not target.empty:
            runner = self._component_runner(target, name, kind, flow)
        if len(known) >= _MAX_TARGETS:
            known.clear()
        known[name, kind] = runner
        return runner

    def _component_runner(self, target: _Target, name: str, kind: str, flow: Flow) -> PolicyRunner:
        shown = f"{kind}_{name}"
        breaker: CircuitBreaker | None = None
        if target.breaker is not None:
            # One for both directions; the first policy that asks for it decides.
            breaker = self._breakers.get(name)
            if breaker is None:
                make = self._maker(target.breaker, shown, flow)
                breaker = self._breakers[name] = make(name)
        return PolicyRunner(
            f"component[{name}] {'output' if flow == 'outbound' else 'input'}",
            self._around,
            timeout=target.timeout,
            retry=target.retry,
            breaker=breaker,
            flow=flow,
            target=shown,
        )

    # --- breakers and counts ----------------------------------------------------------------

    def _maker(
        self, policy: BreakerPolicy, target: str, flow: Flow = "outbound"
    ) -> Callable[[str], CircuitBreaker]:
        report = self._around.report

        def changed(name: str, previous: State, state: State) -> None:
            _LOG.info('Circuit breaker "%s" changed state from %s to %s', name, previous, state)
            report.activated("circuitbreaker", flow, target, state)
            report.breaker_state(flow, target, state)

        return lambda key: CircuitBreaker(
            f"{policy.name}-{key}", policy, self._around.clock, changed
        )


def _first(policies: Mapping[str, V], prefixes: list[str], suffix: _Suffix) -> V | None:
    for prefix in prefixes:
        if (found := policies.get(prefix + suffix)) is not None:
            return found
    return None
