from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReminderName(_message.Message):
    __slots__ = ("actor_id", "name")
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    actor_id: str
    name: str
    def __init__(self, actor_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class RemindersChanged(_message.Message):
    __slots__ = ("actor_type", "reminders")
    ACTOR_TYPE_FIELD_NUMBER: _ClassVar[int]
    REMINDERS_FIELD_NUMBER: _ClassVar[int]
    actor_type: str
    reminders: _containers.RepeatedCompositeFieldContainer[ReminderName]
    def __init__(self, actor_type: _Optional[str] = ..., reminders: _Optional[_Iterable[_Union[ReminderName, _Mapping]]] = ...) -> None: ...

class RemindersChangedAnswer(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
