"""What is answered to a request for admission: decisions without I/O.

A webhook calls ``examine``. That is an answer, or a ``Candidate``: a pod that is to get a sidecar
once the cluster has been asked for what stands in ``Facts``. Then ``inject`` answers, or ``reject``
when the cluster could not be asked. Nothing is remembered and nothing outside is changed, so a dry
run is like any other, and a pod that comes again has its sidecar and passes as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from dapr_common.words import is_truthy
from dapr_injector.annotation_kinds import is_boolean
from dapr_injector.annotation_reading import read, shown, warn_of_strangers
from dapr_injector.annotations import ENABLED, PREFIX, Annotations
from dapr_injector.callers import Callers
from dapr_injector.injection import Facts, Injection
from dapr_injector.patch import make_patch
from dapr_injector.pod import InjectionError, Pod, app_id_problems
from dapr_injector.review import Review, ReviewError, reject_unreadable
from dapr_injector.settings import Settings

_APP_ID = f"{PREFIX}app-id"
_MOST_ANNOTATION_BYTES = 256 << 10  # Kubernetes takes no more, but asks webhooks before it looks


class Outcome(Enum):
    """What became of a request."""

    INJECTED = auto()
    NOT_WANTED = auto()
    PRESENT = auto()
    WRONG_KIND = auto()
    CALLER_NOT_ALLOWED = auto()
    REJECTED = auto()

    @property
    def failure(self) -> str:
        """The ``reason`` in the metric of failed injections; empty when it is none."""
        return _FAILURES.get(self, "")


_FAILURES = {
    Outcome.WRONG_KIND: "pod_patch",
    Outcome.CALLER_NOT_ALLOWED: "pod_patch",
    Outcome.REJECTED: "patch",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The response, and what logs, metrics and events say about it."""

    outcome: Outcome
    body: bytes
    app_id: str = ""
    message: str = ""
    """Why there is no sidecar; empty when that is as the pod wants it."""
    warnings: tuple[str, ...] = ()
    """All of them; the response holds what the API server passes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A pod that is to get a sidecar."""

    review: Review
    pod: Pod
    annotations: Annotations
    app_id: str
    warnings: tuple[str, ...]

    @property
    def needs_components(self) -> bool:
        """Whether the Components of the pod's namespace decide about the patch."""
        return self.annotations.inject_components


def examine(body: bytes, callers: Callers, control_plane: str) -> Answer | Candidate:
    """Decide about everything that needs nothing of the cluster.

    ``control_plane`` is the namespace whose pods may say that they are Dapr's own.
    """
    try:
        review = Review.read(body)
    except ReviewError as error:
        text = str(error)
        return Answer(outcome=Outcome.REJECTED, body=reject_unreadable(text), message=text)
    if review.kind != "Pod":
        message = f"invalid kind for the injector: {shown(review.kind)}, expected Pod"
        return Answer(outcome=Outcome.WRONG_KIND, body=review.allow(), message=message)
    try:
        pod = Pod.read(review.object)
    except InjectionError as error:
        return _rejected(review, "", str(error), [])
    if pod.annotations.get(ENABLED, "").lower() != "true":
        return _not_wanted(review, pod, is_ours=review.namespace == control_plane)
    if not callers.allow(review.user):
        return _not_allowed(review, pod)
    if pod.has_sidecar:
        return Answer(outcome=Outcome.PRESENT, body=review.allow(), app_id=_app_id(pod))
    return _candidate(review, pod)


def inject(candidate: Candidate, settings: Settings, facts: Facts) -> Answer:
    """The answer with the patch."""
    review, warnings = candidate.review, list(candidate.warnings)
    injection = Injection(
        pod=candidate.pod,
        namespace=review.namespace,
        app_id=candidate.app_id,
        annotations=candidate.annotations,
        settings=settings,
        facts=facts,
        warn=warnings.append,
    )
    try:
        patch = make_patch(injection)
    except InjectionError as error:
        return _rejected(review, candidate.app_id, str(error), warnings)
    return Answer(
        outcome=Outcome.INJECTED,
        body=review.allow(warnings, patch),
        app_id=candidate.app_id,
        warnings=tuple(warnings),
    )


def reject(candidate: Candidate, message: str) -> Answer:
    """The answer when the cluster could not be asked for what the pod needs."""
    return _rejected(candidate.review, candidate.app_id, message, list(candidate.warnings))


def _candidate(review: Review, pod: Pod) -> Answer | Candidate:
    if sum(len(name) + len(text) for name, text in pod.annotations.items()) > (
        _MOST_ANNOTATION_BYTES
    ):
        message = f"annotations must have at most {_MOST_ANNOTATION_BYTES} bytes"
        return _rejected(review, "", message, [])
    warnings: list[str] = []
    annotations = read(pod.annotations, warnings.append)
    warn_of_strangers(pod.annotations, warnings.append)
    app_id = annotations.app_id or pod.name
    if message := _app_id_problem(app_id):
        return _rejected(review, app_id, message, warnings)
    return Candidate(
        review=review, pod=pod, annotations=annotations, app_id=app_id, warnings=tuple(warnings)
    )


def _app_id_problem(app_id: str) -> str:
    if not app_id:
        return f"value for the {_APP_ID} annotation is empty"
    service = f"{app_id}-dapr"
    if not (problems := app_id_problems(service)):
        return ""
    return f"invalid app id (input: '{app_id}', service: '{service}'): {', '.join(problems)}"


def _app_id(pod: Pod) -> str:
    return pod.annotations.get(_APP_ID) or pod.name


def _not_wanted(review: Review, pod: Pod, *, is_ours: bool) -> Answer:
    """Silent, unless the pod's creator seems to have wanted something else."""
    warnings: list[str] = []
    text = pod.annotations.get(ENABLED)
    if text is None:
        warn_of_strangers(pod.annotations, warnings.append, is_ours=is_ours)
    elif is_truthy(text) or not is_boolean(text):
        warnings.append(f'{ENABLED} is {shown(text)}, no sidecar is injected: expected "true"')
    return Answer(outcome=Outcome.NOT_WANTED, body=review.allow(warnings), warnings=tuple(warnings))


def _not_allowed(review: Review, pod: Pod) -> Answer:
    message = (
        f"no sidecar is injected into pods made by {shown(review.user.username)}: a list of "
        "service accounts (ALLOWED_SERVICE_ACCOUNTS of the injector) says whose pods get one"
    )
    return Answer(
        outcome=Outcome.CALLER_NOT_ALLOWED,
        body=review.allow([message]),
        app_id=_app_id(pod),
        message=message,
        warnings=(message,),
    )


def _rejected(review: Review, app_id: str, message: str, warnings: list[str]) -> Answer:
    return Answer(
        outcome=Outcome.REJECTED,
        body=review.reject(message, warnings),
        app_id=app_id,
        message=message,
        warnings=tuple(warnings),
    )
