"""One injection: the pod, what it asks for, and everything that decides how its sidecar looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dapr_common.kube.kinds import KubeObject
from dapr_injector.annotation_reading import Warn
from dapr_injector.annotations import Annotations
from dapr_injector.pod import Pod
from dapr_injector.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the cluster says at the time of a request."""

    trust_anchors: str
    """PEM."""
    mtls_enabled: bool = True
    """``spec.mtls.enabled`` of the Configuration ``daprsystem``; true when nothing says so."""
    has_identity_token: bool = True
    """Whether the injector has a service account token itself: sidecars can then have one, too."""
    components: Sequence[KubeObject] = ()
    """Those of the pod's namespace, when the pod asks for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """What the parts of a sidecar are made from. ``warn`` takes texts for the pod's creator."""

    pod: Pod
    namespace: str
    app_id: str
    annotations: Annotations
    settings: Settings
    facts: Facts
    warn: Warn
