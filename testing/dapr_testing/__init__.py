"""A real sidecar inside a test: ``Sidecars`` for any Python program, fixtures for pytest.

    with Sidecars() as sidecars:
        orders = sidecars.start("orders", app=OrdersApp)
        orders.http_url, orders.grpc_address

With pytest nothing is to be imported: the fixture ``dapr_sidecar`` starts one.
"""

from dapr_testing.app import Answer, Handler, HttpApp, Request
from dapr_testing.manifests import component, manifest
from dapr_testing.sidecar import Sidecar, SidecarError
from dapr_testing.sidecars import Sidecars

__all__ = [
    "Answer",
    "Handler",
    "HttpApp",
    "Request",
    "Sidecar",
    "SidecarError",
    "Sidecars",
    "component",
    "manifest",
]
