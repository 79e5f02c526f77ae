"""Every failure of the publish APIs that a caller is told about."""

from __future__ import annotations

from collections.abc import Mapping

from dapr_common.errors import DaprError, ErrorInfo, GrpcCode, ResourceInfo

_TYPE = "pubsub"


def _rich(
    code: str,
    reason: str,
    message: str,
    pubsub: str,
    metadata: Mapping[str, str] | None,
    status: int,
    grpc: GrpcCode,
) -> DaprError:
    details = (ResourceInfo(_TYPE, pubsub, message), ErrorInfo(reason, metadata))
    return DaprError(code, message, http_status=status, grpc_code=grpc, details=details)


def name_empty(metadata: Mapping[str, str] | None) -> DaprError:
    """No pubsub name was given."""
    return _rich(
        "ERR_PUBSUB_EMPTY",
        "DAPR_PUBSUB_NAME_EMPTY",
        "pubsub name is empty",
        "",
        metadata,
        404,
        GrpcCode.INVALID_ARGUMENT,
    )


def topic_empty(pubsub: str, metadata: Mapping[str, str] | None) -> DaprError:
    """No topic was given."""
    return _rich(
        "ERR_TOPIC_NAME_EMPTY",
        "DAPR_PUBSUB_TOPIC_NAME_EMPTY",
        f"topic is empty in pubsub {pubsub}",
        pubsub,
        metadata,
        404,
        GrpcCode.INVALID_ARGUMENT,
    )


def not_found(pubsub: str, metadata: Mapping[str, str] | None) -> DaprError:
    """No component has the name."""
    return DaprError(
        "ERR_PUBSUB_NOT_FOUND",
        f"pubsub {pubsub} is not found",
        http_status=404,
        grpc_code=GrpcCode.INVALID_ARGUMENT,
        details=(ErrorInfo("DAPR_PUBSUB_NOT_FOUND", metadata),),
    )


def vanished(pubsub: str, topic: str) -> DaprError:
    """The component was there when the request came, and is not any more."""
    message = f"pubsub '{pubsub}' not found"
    return _rich(
        "ERR_PUBSUB_NOT_FOUND",
        "DAPR_PUBSUB_TEST_NOT_FOUND",
        message,
        pubsub,
        {"topic": topic, "error": message},
        400,
        GrpcCode.NOT_FOUND,
    )


def bad_metadata(pubsub: str, metadata: Mapping[str, str], text: str) -> DaprError:
    """A metadata value has the wrong form."""
    return _rich(
        "ERR_PUBSUB_REQUEST_METADATA",
        "DAPR_PUBSUB_METADATA_DESERIALIZATION",
        f"failed deserializing metadata. Error: {text}",
        pubsub,
        metadata,
        400,
        GrpcCode.INVALID_ARGUMENT,
    )


def forbidden(pubsub: str, topic: str, app_id: str) -> DaprError:
    """The component's scopes keep this app from the topic."""
    message = f"topic {topic} is not allowed for app id {app_id}"
    return _rich(
        "ERR_PUBSUB_FORBIDDEN",
        "DAPR_PUBSUB_FORBIDDEN",
        message,
        pubsub,
        {"topic": topic, "error": message},
        403,
        GrpcCode.PERMISSION_DENIED,
    )


def publish_failed(pubsub: str, topic: str, cause: object) -> DaprError:
    """The broker refused the message, or the request body could not be read."""
    return _rich(
        "ERR_PUBSUB_PUBLISH_MESSAGE",
        "DAPR_PUBSUB_PUBLISH_MESSAGE",
        f"error when publishing to topic {topic} in pubsub {pubsub}: {cause}",
        pubsub,
        {"topic": topic, "error": str(cause)},
        500,
        GrpcCode.INTERNAL,
    )


def envelope_failed(pubsub: str, app_id: str, cause: object) -> DaprError:
    """The payload says it is a CloudEvent and is none."""
    return _rich(
        "ERR_PUBSUB_CLOUD_EVENTS_SER",
        "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
        "cannot create cloudevent",
        pubsub,
        {"appID": app_id, "error": str(cause)},
        500,
        GrpcCode.INVALID_ARGUMENT,
    )


def unmarshal_failed(pubsub: str, topic: str, app_id: str, cause: object) -> DaprError:
    """The body of a bulk publish is not what it must be."""
    return _rich(
        "ERR_PUBSUB_EVENTS_SER",
        "DAPR_PUBSUB_UNMARSHAL_EVENTS",
        f"error when unmarshaling the request for topic {topic} pubsub {pubsub}: {cause}",
        pubsub,
        {"appID": app_id},
        400,
        GrpcCode.INVALID_ARGUMENT,
    )


def bad_entry_id(pubsub: str, topic: str, app_id: str) -> DaprError:
    """An entry of a bulk publish has no id, or the id of another."""
    cause = "entryId is duplicated or not present for entry"
    return _rich(
        "ERR_PUBSUB_EVENTS_SER",
        "DAPR_PUBSUB_MARSHAL_EVENTS",
        f"error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: {cause}",
        pubsub,
        {"appID": app_id, "error": cause},
        400,
        GrpcCode.INVALID_ARGUMENT,
    )


def bad_entry_content(pubsub: str, topic: str, app_id: str) -> DaprError:
    """An entry's event does not fit its content type."""
    cause = "error: mismatch between contentType and event"
    return _rich(
        "ERR_PUBSUB_EVENTS_SER",
        "DAPR_PUBSUB_MARSHAL_ENVELOPE",
        f"error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: {cause}",
        pubsub,
        {"appID": app_id, "error": cause},
        400,
        GrpcCode.INVALID_ARGUMENT,
    )
