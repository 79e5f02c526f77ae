"""Errors as HTTP answers, in one place."""

from __future__ import annotations

from typing import Any

from dapr_common.errors import BadRequest, DaprError, Detail, ErrorInfo, Help, ResourceInfo
from dapr_common.http.messages import Response
from dapr_common.http.url import as_utf8
from dapr_sidecar.api.http.responses import json_response, text_response

_TYPE = "type.googleapis.com/google.rpc."


def render(error: DaprError) -> Response:
    """The answer for a failure an API caller is told about."""
    body: dict[str, Any] = {"errorCode": error.code, "message": as_utf8(error.message)}
    if error.details:
        body["details"] = [_detail(detail) for detail in error.details]
    response = json_response(body, error.http_status, newline=False)
    response.headers += error.http_headers
    return response


def render_unknown(error: Exception) -> Response:
    """The answer for a defect: Dapr's code for it, and the text."""
    return json_response({"errorCode": "ERROR", "message": as_utf8(str(error))}, 500, newline=False)


def page_not_found() -> Response:
    """What Go's mux answers when nothing is registered."""
    return text_response("404 page not found", 404)


def _detail(detail: Detail) -> dict[str, Any]:
    if isinstance(detail, ErrorInfo):
        metadata = None if detail.metadata is None else dict(detail.metadata)
        return {
            "@type": _TYPE + "ErrorInfo",
            "domain": detail.domain,
            "metadata": metadata,
            "reason": detail.reason,
        }
    if isinstance(detail, ResourceInfo):
        return {
            "@type": _TYPE + "ResourceInfo",
            "description": detail.description,
            "owner": detail.owner,
            "resource_name": detail.resource_name,
            "resource_type": detail.resource_type,
        }
    if isinstance(detail, BadRequest):
        return {
            "@type": _TYPE + "BadRequest",
            "field_violations": [
                {"description": description, **({"field": field} if field else {})}
                for field, description in detail.violations
            ],
        }
    assert isinstance(detail, Help)
    return {
        "@type": _TYPE + "Help",
        "links": [{"description": description, "url": url} for description, url in detail.links],
    }
