"""What became of admission requests, told to metrics, the log, and as Events of the cluster."""

from __future__ import annotations

from typing import Any

import orjson

from dapr_common.kube.events import EventRecorder, Subject
from dapr_common.observe.logs import get_logger
from dapr_injector.admission import Answer, Outcome
from dapr_injector.metrics import InjectorMetrics

_LOG = get_logger("dapr.injector")
_LONGEST_NAME = 253
_MOST_WARNINGS = 20
_FAILED, _WARNING = "DaprInjectionFailed", "DaprInjectionWarning"


class Reports:
    """Counts, logs and tells; what is told to the cluster goes out later."""

    def __init__(self, metrics: InjectorMetrics, events: EventRecorder) -> None:
        self._metrics = metrics
        self._events = events

    def received(self) -> None:
        """A request came in."""
        self._metrics.requests.add()

    def answered(self, answer: Answer, body: bytes) -> None:
        """A request was answered; ``body`` is the request."""
        app_id = answer.app_id[:_LONGEST_NAME]  # also where nobody has looked at it
        if answer.outcome is Outcome.INJECTED:
            self._metrics.succeeded.at(app_id).add()
        if reason := answer.outcome.failure:
            self._metrics.failed.at(app_id, reason).add()
        if not answer.message and not answer.warnings:
            return
        found = _about(body)
        warnings = [text for text in answer.warnings if text != answer.message]
        if (more := len(warnings) - _MOST_WARNINGS) > 0:
            warnings[_MOST_WARNINGS:] = [f"{more} more warnings"]
        if answer.message:
            _LOG.error("No sidecar for %s: %s", found.shown, answer.message)
        for text in warnings:
            _LOG.warning("%s: %s", found.shown, text)
        if (subject := found.subject) is None or found.dry_run:
            return
        if answer.message:
            self._events.report(subject, _FAILED, f"no sidecar for {found.shown}: {answer.message}")
        for text in warnings:
            self._events.report(subject, _WARNING, f"{found.shown}: {text}")

    def failed(self, reason: str) -> None:
        """A request got no AdmissionReview as its answer."""
        self._metrics.failed.at("", reason).add()


class _About:
    """The pod of a request, and whom its events are for."""

    def __init__(self, request: dict[str, Any]) -> None:
        metadata = _mapping(_mapping(request.get("object")).get("metadata"))
        # Nobody has looked at these yet either, and events are remembered for a while.
        namespace = str(request.get("namespace") or "")[:_LONGEST_NAME]
        name = str(metadata.get("name") or metadata.get("generateName") or "")[:_LONGEST_NAME]
        self.shown = f"pod {namespace}/{name}" if namespace or name else "a request"
        self.dry_run = request.get("dryRun") is True
        self.subject = _owner(metadata, namespace) if namespace else None


def _about(body: bytes) -> _About:
    try:
        return _About(_mapping(_mapping(orjson.loads(body)).get("request")))
    except orjson.JSONDecodeError:
        return _About({})


def _owner(metadata: dict[str, Any], namespace: str) -> Subject:
    """Who makes the pod. One that nobody owns has no uid yet: its namespace has the events."""
    references = metadata.get("ownerReferences")
    owners = [one for one in references if _is_usable(one)] if isinstance(references, list) else []
    if not owners:
        return Subject("v1", "Namespace", namespace, namespace)
    owner = next((one for one in owners if one.get("controller") is True), owners[0])
    return Subject(owner["apiVersion"], owner["kind"], owner["name"], namespace, owner["uid"])


def _is_usable(reference: Any) -> bool:
    names = ("apiVersion", "kind", "name", "uid")
    return isinstance(reference, dict) and all(
        isinstance(value := reference.get(name), str) and 0 < len(value) <= _LONGEST_NAME
        for name in names
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
