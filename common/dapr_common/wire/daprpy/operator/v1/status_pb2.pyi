import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SidecarReport(_message.Message):
    __slots__ = ("namespace", "pod", "version", "resources")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    pod: str
    version: str
    resources: _containers.RepeatedCompositeFieldContainer[ResourceStatus]
    def __init__(self, namespace: _Optional[str] = ..., pod: _Optional[str] = ..., version: _Optional[str] = ..., resources: _Optional[_Iterable[_Union[ResourceStatus, _Mapping]]] = ...) -> None: ...

class ResourceStatus(_message.Message):
    __slots__ = ("kind", "name", "resource_version", "state", "message", "since")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[ResourceStatus.State]
        LOADED: _ClassVar[ResourceStatus.State]
        FAILED: _ClassVar[ResourceStatus.State]
        PENDING: _ClassVar[ResourceStatus.State]
    UNKNOWN: ResourceStatus.State
    LOADED: ResourceStatus.State
    FAILED: ResourceStatus.State
    PENDING: ResourceStatus.State
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    resource_version: str
    state: ResourceStatus.State
    message: str
    since: _timestamp_pb2.Timestamp
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., resource_version: _Optional[str] = ..., state: _Optional[_Union[ResourceStatus.State, str]] = ..., message: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReportSummary(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
