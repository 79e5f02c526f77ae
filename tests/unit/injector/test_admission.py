"""Which answer a request gets, what metrics hear of it, and what the pod's creator is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from dapr_injector.admission import Answer, Candidate, Outcome, examine, reject
from dapr_injector.callers import BUILT_IN, Callers

Admit = Callable[..., Any]
MakePod = Callable[..., Any]
SYSTEM = "dapr-system"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"[]", "the body is no AdmissionReview"),
        (b"{}", "the body is no AdmissionReview"),
        (b'{"kind": "Pod", "apiVersion": "v1"}', "the body is no AdmissionReview"),
        (
            b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v2"}',
            "apiVersion of the AdmissionReview is unknown",
        ),
        (
            b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}',
            "the AdmissionReview has no request",
        ),
        (
            (
                b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", '
                b'"request": {"kind": "Pod"}}'
            ),
            "kind of the request is malformed",
        ),
        (
            (
                b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", '
                b'"request": {"userInfo": {"groups": "system:masters"}}}'
            ),
            "groups of the request are malformed",
        ),
    ],
)
def test_a_body_that_is_no_admission_review_is_rejected_in_one(body: bytes, message: str) -> None:
    answer = examine(body, Callers(BUILT_IN), SYSTEM)
    assert isinstance(answer, Answer)
    review = json.loads(answer.body)

    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert review["response"]["allowed"] is False
    assert review["response"]["status"]["message"].startswith(message)
    assert answer.outcome.failure == "patch"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_the_response_has_the_requests_version(
    version: str, make_body: Callable[..., bytes], make_pod: MakePod
) -> None:
    body = make_body(make_pod({"app-id": "A"}), version=version)
    answer = examine(body, Callers(BUILT_IN), SYSTEM)
    assert isinstance(answer, Answer)

    assert json.loads(answer.body)["apiVersion"] == f"admission.k8s.io/{version}"


def test_a_pod_gets_its_sidecar(admit: Admit, make_pod: MakePod) -> None:
    admitted = admit(make_pod())

    assert admitted.response["allowed"] is True
    assert admitted.response["patchType"] == "JSONPatch"
    assert admitted.answer.outcome is Outcome.INJECTED
    assert admitted.answer.outcome.failure == ""
    assert admitted.answer.app_id == "orders"
    assert admitted.warnings == []


def test_a_dry_run_is_like_any_other(admit: Admit, make_pod: MakePod) -> None:
    assert admit(make_pod(), dryRun=True).patch == admit(make_pod()).patch


def test_other_kinds_pass_and_count_as_failures(admit: Admit, make_pod: MakePod) -> None:
    admitted = admit(make_pod(), kind={"kind": "Deployment"})

    assert admitted.response["allowed"] is True
    assert admitted.patch == []
    assert admitted.answer.outcome is Outcome.WRONG_KIND
    assert admitted.answer.outcome.failure == "pod_patch"


def test_pods_of_other_callers_pass_and_their_creator_hears_why(
    admit: Admit, make_pod: MakePod
) -> None:
    admitted = admit(make_pod(), userInfo={"username": "system:serviceaccount:shop:runner"})

    assert admitted.response["allowed"] is True
    assert admitted.patch == []
    assert admitted.answer.outcome.failure == "pod_patch"
    assert admitted.answer.app_id == "orders"
    (warning,) = admitted.warnings
    assert '"system:serviceaccount:shop:runner"' in warning
    assert "ALLOWED_SERVICE_ACCOUNTS" in warning


@pytest.mark.parametrize(
    ("enabled", "warning"),
    [
        ("false", None),
        ("off", None),
        ("", None),
        ("yes", 'dapr.io/enabled is "yes", no sidecar is injected: expected "true"'),
        ("true ", 'dapr.io/enabled is "true ", no sidecar is injected: expected "true"'),
        ("treu", 'dapr.io/enabled is "treu", no sidecar is injected: expected "true"'),
    ],
)
def test_a_pod_that_is_not_enabled_passes_and_is_warned_if_it_looks_like_an_error(
    enabled: str, warning: str | None, admit: Admit, make_pod: MakePod
) -> None:
    admitted = admit(make_pod({"enabled": enabled}))

    assert admitted.response["allowed"] is True
    assert admitted.patch == []
    assert admitted.answer.outcome is Outcome.NOT_WANTED
    assert admitted.answer.outcome.failure == ""
    assert admitted.warnings == ([] if warning is None else [warning])


def test_a_misspelt_enabled_is_noticed(admit: Admit, make_pod: MakePod) -> None:
    pod = make_pod()
    pod["metadata"]["annotations"] = {"dapr.io/enable": "true", "dapr.io/app-id": "orders"}

    assert admit(pod).warnings == [
        "unknown annotation dapr.io/enable, did you mean dapr.io/enabled?"
    ]


@pytest.mark.parametrize(("namespace", "is_told"), [(SYSTEM, False), ("default", True)])
def test_dapr_s_own_pods_pass_in_silence(namespace: str, is_told: bool, admit: Admit) -> None:
    metadata = {"annotations": {"dapr.io/control-plane": "operator"}}
    admitted = admit({"metadata": metadata, "spec": {"containers": []}}, namespace=namespace)

    assert admitted.answer.outcome is Outcome.NOT_WANTED
    assert ["sentry refuses others" in one for one in admitted.warnings] == [True] * is_told


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}, {"annotations": {}}])
def test_a_pod_without_annotations_passes_in_silence(
    metadata: dict[str, Any], admit: Admit
) -> None:
    admitted = admit({"metadata": metadata, "spec": {"containers": None}})

    assert admitted.answer.outcome is Outcome.NOT_WANTED
    assert admitted.warnings == []


@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_a_pod_that_comes_again_passes_as_it_is(
    where: str, admit: Admit, make_pod: MakePod
) -> None:
    first = admit(make_pod({"enable-native-sidecar": str(where == "initContainers")}))
    again = admit(first.pod)

    assert "daprd" in [container["name"] for container in first.pod["spec"][where]]
    assert again.patch == []
    assert again.answer.outcome is Outcome.PRESENT
    assert again.answer.outcome.failure == ""

    first.pod["spec"]["containers"].append({"name": "late", "image": "late:1"})
    assert admit(first.pod).patch == []


@pytest.mark.parametrize(
    ("app_id", "message"),
    [
        ("Orders", "invalid app id (input: 'Orders', service: 'Orders-dapr'): a lowercase RFC"),
        ("-a", "invalid app id (input: '-a', service: '-a-dapr'): a lowercase RFC 1123 label"),
        ("a" * 59, f"invalid app id (input: '{'a' * 59}', service: '{'a' * 59}-dapr'): must be no"),
    ],
)
def test_a_bad_app_id_stops_the_pod(
    app_id: str, message: str, admit: Admit, make_pod: MakePod
) -> None:
    admitted = admit(make_pod({"app-id": app_id, "app-prot": "80"}))

    assert admitted.response["allowed"] is False
    assert admitted.response["status"]["message"].startswith(message)
    assert "patch" not in admitted.response
    assert admitted.answer.outcome.failure == "patch"
    assert admitted.answer.message == admitted.response["status"]["message"]
    assert admitted.warnings == [
        "unknown annotation dapr.io/app-prot, did you mean dapr.io/app-port?"
    ]


def test_annotations_that_kubernetes_does_not_take_make_no_patch(
    admit: Admit, make_pod: MakePod
) -> None:
    """The API server asks before it looks: a patch of a hundred megabytes came of seven."""
    admitted = admit(make_pod({"env": "a=1," * 65_536}))

    assert admitted.response["allowed"] is False
    assert admitted.response["status"]["message"] == "annotations must have at most 262144 bytes"
    assert admitted.answer.app_id == ""
    assert admit(make_pod({"env": "a=1," * 60_000})).response["allowed"] is True


def test_the_longest_app_id_is_taken(admit: Admit, make_pod: MakePod) -> None:
    assert admit(make_pod({"app-id": "a" * 58})).answer.outcome is Outcome.INJECTED


@pytest.mark.parametrize(
    "pod",
    [
        None,
        [],
        {"spec": {}},
        {"metadata": {}},
        {"metadata": {"annotations": {"dapr.io/enabled": True}}, "spec": {}},
        {"metadata": {"annotations": []}, "spec": {"containers": {}}},
        {"metadata": {}, "spec": {"containers": ["app"]}},
        {
            "metadata": {"name": "a", "annotations": {"dapr.io/enabled": "true"}},
            "spec": {"containers": [{"name": "app", "env": "A=1"}]},
        },
    ],
    ids=repr,
)
def test_a_malformed_pod_is_rejected_not_a_crash(pod: Any, admit: Admit) -> None:
    admitted = admit(pod)

    assert admitted.response["allowed"] is False
    assert "malformed" in admitted.response["status"]["message"]


def test_warnings_go_with_the_patch_within_the_api_servers_limits(
    admit: Admit, make_pod: MakePod
) -> None:
    numbers = dict.fromkeys(("app-max-concurrency", "http-max-request-size"), "x")
    mounts = ",".join(f"{'v' * 300}{n}:/x" for n in range(40))
    admitted = admit(make_pod(numbers | {"volume-mounts": mounts}))

    assert admitted.response["allowed"] is True
    assert len(admitted.answer.warnings) == 43  # the second number is deprecated, too
    assert len(admitted.warnings) == 16
    assert sum(map(len, admitted.warnings)) <= 4096


def test_values_that_may_be_secret_are_not_repeated(admit: Admit, make_pod: MakePod) -> None:
    admitted = admit(make_pod({"env": "hunter2", "env-from-secret": "A=b:hunter2:d"}))

    assert len(admitted.warnings) == 2
    assert "hunter2" not in str(admitted.warnings)


def test_components_are_asked_for_when_the_pod_wants_them(
    make_body: Callable[..., bytes], make_pod: MakePod
) -> None:
    plain = examine(make_body(make_pod()), Callers(BUILT_IN), SYSTEM)
    wanting = examine(
        make_body(make_pod({"inject-pluggable-components": "true"})), Callers(BUILT_IN), SYSTEM
    )
    assert isinstance(plain, Candidate)
    assert isinstance(wanting, Candidate)
    assert (plain.needs_components, wanting.needs_components) == (False, True)

    answer = reject(wanting, "the Components of default cannot be listed: timeout")
    response = json.loads(answer.body)["response"]
    assert response["allowed"] is False
    assert response["status"]["message"] == "the Components of default cannot be listed: timeout"
    assert (answer.outcome.failure, answer.app_id) == ("patch", "orders")
