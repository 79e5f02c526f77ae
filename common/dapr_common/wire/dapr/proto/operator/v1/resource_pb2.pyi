import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResourceConditionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATUS_UNKNOWN: _ClassVar[ResourceConditionStatus]
    STATUS_SUCCESS: _ClassVar[ResourceConditionStatus]
    STATUS_FAILURE: _ClassVar[ResourceConditionStatus]

class ResourceType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESOURCE_UNKNOWN: _ClassVar[ResourceType]
    RESOURCE_COMPONENT: _ClassVar[ResourceType]

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_UNKNOWN: _ClassVar[EventType]
    EVENT_INIT: _ClassVar[EventType]
    EVENT_CLOSE: _ClassVar[EventType]
STATUS_UNKNOWN: ResourceConditionStatus
STATUS_SUCCESS: ResourceConditionStatus
STATUS_FAILURE: ResourceConditionStatus
RESOURCE_UNKNOWN: ResourceType
RESOURCE_COMPONENT: ResourceType
EVENT_UNKNOWN: EventType
EVENT_INIT: EventType
EVENT_CLOSE: EventType

class ResourceResult(_message.Message):
    __slots__ = ("resource_type", "event_type", "name", "condition", "reason", "message", "observed_generation", "last_transaction_time")
    RESOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    LAST_TRANSACTION_TIME_FIELD_NUMBER: _ClassVar[int]
    resource_type: ResourceType
    event_type: EventType
    name: str
    condition: ResourceConditionStatus
    reason: str
    message: str
    observed_generation: int
    last_transaction_time: _timestamp_pb2.Timestamp
    def __init__(self, resource_type: _Optional[_Union[ResourceType, str]] = ..., event_type: _Optional[_Union[EventType, str]] = ..., name: _Optional[str] = ..., condition: _Optional[_Union[ResourceConditionStatus, str]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., observed_generation: _Optional[int] = ..., last_transaction_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
