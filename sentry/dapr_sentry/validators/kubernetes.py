"""The validator of a cluster: a pod proves itself with the token of its service account."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import jwt

from dapr_common.kube.api_errors import KubeError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.informer import Informer
from dapr_common.kube.kinds import CONFIGURATIONS, PODS, TOKEN_REVIEWS, KubeObject, Selection
from dapr_common.security.spiffe import SpiffeError, SpiffeId, parse_trust_domain
from dapr_common.wire.dapr.proto.sentry.v1.sentry_pb2 import SignCertificateRequest
from dapr_sentry.validators.base import DEFAULT_TRUST_DOMAIN, ValidationError, Validator

_LEGACY_AUDIENCE = "dapr.io/sentry"
_CONTROL_PLANE = frozenset({"operator", "placement", "injector", "sentry", "scheduler"})
_APP_ID = "dapr.io/app-id"
_CONFIG = "dapr.io/config"
_CONTROL_PLANE_SERVICE = "dapr.io/control-plane"


@dataclass(frozen=True, slots=True)
class Pod:
    """What is kept of every pod of the cluster; annotations only where they matter here."""

    namespace: str
    name: str
    uid: str
    service_account: str
    app_id: str | None
    config: str
    control_plane_service: str | None


@dataclass(frozen=True, slots=True)
class BoundToken:
    """Whose a reviewed token is: a service account's, handed out for one pod."""

    namespace: str
    service_account: str
    pod: str
    pod_uid: str


class KubernetesValidator(Validator):
    """The API server reviews the token; the pod it is bound to says which app it is."""

    kind = SignCertificateRequest.KUBERNETES
    target = "sentry-kubernetes-validator"

    def __init__(
        self, client: KubeClient, *, trust_domain: str, namespace: str, watch_namespace: str = ""
    ) -> None:
        """``namespace`` is the control plane's; pods of ``watch_namespace`` count, empty is all."""
        self._client = client
        self._trust_domain = trust_domain
        self._namespace = namespace
        self._watch_namespace = watch_namespace
        own_id = SpiffeId.make(trust_domain, namespace, "dapr-sentry")
        self._audiences = [_LEGACY_AUDIENCE, str(own_id)]
        self._pods = Informer(client, Selection(PODS, watch_namespace), read_pod)
        self._configurations = Informer(
            client, Selection(CONFIGURATIONS, watch_namespace), read_trust_domain
        )
        self._following: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        for informer in (self._pods, self._configurations):
            self._following.append(loop.create_task(informer.run(), name="follow the cluster"))
        await self._pods.synced.wait()
        await self._configurations.synced.wait()

    async def close(self) -> None:
        tasks, self._following = self._following, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def validate(self, request: SignCertificateRequest) -> str:
        token = await self._review(request.token)
        pod = await self._pod_of(token)
        if token.namespace != request.namespace:
            raise ValidationError(
                f"namespace mismatch. expected: {token.namespace}, received: {request.namespace}"
            )
        if pod.service_account != token.service_account:
            raise ValidationError("pod service account mismatch")
        expected = self._expected_id(pod)
        if expected != request.id:
            raise ValidationError(f"app-id mismatch. expected: {expected}, received: {request.id}")
        if pod.control_plane_service is not None:
            return self._trust_domain
        return await self._trust_domain_of(pod)

    # --- the token --------------------------------------------------------------------------

    async def _review(self, token: str) -> BoundToken:
        if not token:
            raise ValidationError("invalid token: the request does not contain a token")
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": self._audiences},
        }
        try:
            answer = await self._client.create(TOKEN_REVIEWS, review)
        except KubeError as error:
            raise ValidationError(f"token review failed: {error}") from error
        status = answer.get("status") or {}
        if error_text := status.get("error"):
            raise ValidationError(f"invalid token: {error_text}")
        if not status.get("authenticated"):
            raise ValidationError("authentication failed")
        # An authenticator that knows nothing of audiences names none: the token was then made for
        # the API server, or for anybody.
        audiences = status.get("audiences")
        if not isinstance(audiences, list) or not set(self._audiences).intersection(audiences):
            raise ValidationError("authentication failed: the token was not made for sentry")
        return _bound_token(str((status.get("user") or {}).get("username") or ""), token)

    # --- the pod ----------------------------------------------------------------------------

    async def _pod_of(self, token: BoundToken) -> Pod:
        """The pod of a reviewed token: of that very pod, not of one that had its name before.

        The watch may be behind a pod that has just started, so the API server is asked for what
        is not there yet.
        """
        if self._watch_namespace not in ("", token.namespace):
            raise ValidationError(
                f"pods of namespace {token.namespace} get no certificate here: this sentry is for "
                f"namespace {self._watch_namespace} (global.rbac.namespaced of the chart)"
            )
        found = self._pods.get(token.pod, token.namespace)
        if found is not None and token.pod_uid in ("", found.uid):
            return found
        try:
            found = read_pod(await self._client.get(PODS, token.pod, token.namespace))
        except KubeError as error:
            raise ValidationError(f"failed to get pod of identity: {error}") from error
        if token.pod_uid not in ("", found.uid):
            raise ValidationError("failed to get pod of identity: the token's pod is gone")
        return found

    def _expected_id(self, pod: Pod) -> str:
        service = pod.control_plane_service
        if service is None:
            return pod.app_id if pod.app_id is not None else pod.name
        if pod.namespace != self._namespace:
            raise ValidationError(
                f"a pod with annotation {_CONTROL_PLANE_SERVICE} must be in the control plane "
                f"namespace, this one is in {pod.namespace}"
            )
        if service not in _CONTROL_PLANE:
            raise ValidationError(f"unknown control plane service in annotation: '{service}'")
        if pod.app_id is not None:
            raise ValidationError(
                f"a pod with annotation {_CONTROL_PLANE_SERVICE} must not have {_APP_ID}"
            )
        return f"dapr-{service}"

    async def _trust_domain_of(self, pod: Pod) -> str:
        if not pod.config:
            return DEFAULT_TRUST_DOMAIN
        name = self._configurations.get(pod.config, pod.namespace)
        if name is None:
            try:
                body = await self._client.get(CONFIGURATIONS, pod.config, pod.namespace)
            except KubeError as error:
                raise ValidationError(f"failed to get configuration: {error}") from error
            name = read_trust_domain(body)
        try:
            return parse_trust_domain(name or DEFAULT_TRUST_DOMAIN)
        except SpiffeError as error:
            raise ValidationError(
                f"Configuration '{pod.config}' has an invalid trust domain: {error}"
            ) from error


def read_pod(body: KubeObject) -> Pod:
    """A pod as the API writes it."""
    metadata: dict[str, Any] = body["metadata"]
    annotations: dict[str, str] = metadata.get("annotations") or {}
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=str(metadata.get("uid") or ""),
        service_account=str((body.get("spec") or {}).get("serviceAccountName") or ""),
        app_id=annotations.get(_APP_ID),
        config=annotations.get(_CONFIG) or "",
        control_plane_service=annotations.get(_CONTROL_PLANE_SERVICE),
    )


def read_trust_domain(body: KubeObject) -> str:
    """``spec.accessControl.trustDomain`` of a Configuration; empty when it is not set."""
    access_control = (body.get("spec") or {}).get("accessControl") or {}
    return str(access_control.get("trustDomain") or "")


def _bound_token(username: str, token: str) -> BoundToken:
    """Raises ``ValidationError``. The API server has verified the token, its claims are true."""
    match username.split(":"):
        case ["system", "serviceaccount", namespace, name] if namespace and name:
            pass
        case _:
            raise ValidationError("invalid token: it is not that of a service account")
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        raise ValidationError("invalid token: it is no JWT") from error
    bound = claims.get("kubernetes.io")
    pod = bound.get("pod") if isinstance(bound, dict) else None
    if not isinstance(pod, dict) or not pod.get("name"):
        raise ValidationError("invalid token: it is not bound to a pod")
    return BoundToken(namespace, name, str(pod["name"]), str(pod.get("uid") or ""))
