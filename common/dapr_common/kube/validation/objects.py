"""Any of Dapr's custom resources, checked by its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dapr_common.kube.validation.component import check_component
from dapr_common.kube.validation.configuration import check_configuration
from dapr_common.kube.validation.problems import Node, Problem, Problems
from dapr_common.kube.validation.resiliency import Known, check_resiliency
from dapr_common.kube.validation.subscription import (
    check_http_endpoint,
    check_subscription,
    check_subscription_v1,
)

_V1, _V2 = "dapr.io/v1alpha1", "dapr.io/v2alpha1"
_CHECKS: Mapping[tuple[str, str], Callable[[Node], None]] = {
    (_V1, "Component"): check_component,
    (_V1, "Configuration"): check_configuration,
    (_V1, "HTTPEndpoint"): check_http_endpoint,
    (_V1, "Resiliency"): check_resiliency,
    (_V1, "Subscription"): check_subscription_v1,
    (_V2, "Subscription"): check_subscription,
}


def validate(body: Mapping[str, Any], policies_elsewhere: Known | None = None) -> list[Problem]:
    """The problems of an object, in the order of its fields; none for a kind that is not known.

    ``policies_elsewhere``: see ``check_resiliency``.
    """
    check = _CHECKS.get((str(body.get("apiVersion")), str(body.get("kind"))))
    if check is None:
        return []
    if check is check_resiliency:
        check = partial(check_resiliency, elsewhere=policies_elsewhere)
    problems = Problems()
    check(Node(body, "", problems))
    return problems.found
