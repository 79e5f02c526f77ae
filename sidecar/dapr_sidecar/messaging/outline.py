"""Leading messages with their parts left as bytes.

Dapr's own types make a map of the metadata, which costs more than the rest of a call. These have
the same numbers on the wire; what looks unusual in them is read again with the types proper.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "dapr_sidecar.messaging"
_Field = descriptor_pb2.FieldDescriptorProto
_FIELDS = {
    "RequestStream": {"request": (1, "Request"), "payload": (2, "Payload")},
    "Request": {"ver": (1, "int32"), "metadata": (2, "bytes"), "message": (3, "bytes")},
    "ResponseStream": {"response": (1, "Response"), "payload": (2, "Payload")},
    "Response": {"status": (1, "bytes"), "headers": (2, "bytes"), "message": (4, "bytes")},
    "Payload": {"data": (1, "bytes"), "seq": (2, "uint64")},
}
_UNUSUAL = {"Request": ("actor", 4), "Response": ("trailers", 3)}
_SCALARS = {"int32": _Field.TYPE_INT32, "uint64": _Field.TYPE_UINT64}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="dapr_sidecar/messaging/outline.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add(message, field, number, kind)
        if name in _UNUSUAL:
            field, number = _UNUSUAL[name]
            _add(message, field, number, "bytes")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _FIELDS
    }


def _add(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    """Add a field. All but numbers and a payload's data may come more than once, to be noticed."""
    field = message.field.add(name=name, number=number, label=_Field.LABEL_REPEATED)
    if kind in _SCALARS:
        field.type, field.label = _SCALARS[kind], _Field.LABEL_OPTIONAL
    elif kind == "bytes":
        field.type = _Field.TYPE_BYTES
        if message.name == "Payload":
            field.label = _Field.LABEL_OPTIONAL
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"


_found = _classes()
RequestStream: Any = _found["RequestStream"]
ResponseStream: Any = _found["ResponseStream"]
