"""Server reflection, ``grpc.reflection.v1`` and ``v1alpha``: what tools ask a server about itself.

Descriptors come from the generated modules that are imported; a service served raw has a name
only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import Default

from dapr_common.errors import GrpcCode
from dapr_common.grpc.context import Context, Method

Services = Callable[[], Iterable[str]]


def methods(services: Services, *, describe: Callable[[], object] | None = None) -> list[Method]:
    """The reflection services of a server whose services this function lists.

    ``describe`` imports the generated modules of those services, once somebody asks.
    """
    from dapr_common.wire.grpc.reflection.v1 import reflection_pb2 as v1
    from dapr_common.wire.grpc.reflection.v1alpha import reflection_pb2 as v1alpha

    found = []
    for name, types in (("v1", v1), ("v1alpha", v1alpha)):
        reflection = _Reflection(services, describe, types)
        found.append(
            Method(
                f"/grpc.reflection.{name}.ServerReflection/ServerReflectionInfo",
                "stream_stream",
                types.ServerReflectionRequest,
                types.ServerReflectionResponse,
                reflection.answer_all,
            )
        )
    return found


class _Reflection:
    """One version of the service; both have the same messages."""

    def __init__(
        self, services: Services, describe: Callable[[], object] | None, types: Any
    ) -> None:
        self._services = services
        self._describe = describe
        self._pool = Default()
        self._types = types

    async def answer_all(
        self, requests: AsyncIterator[Any], context: Context
    ) -> AsyncIterator[Any]:
        """Answer each request of a stream; a file is sent once per stream."""
        # Files name the options' file as a dependency; its module puts it into the pool.
        import google.protobuf.descriptor_pb2  # noqa: F401

        if self._describe is not None:
            self._describe()
        sent: set[str] = set()
        async for request in requests:
            response = self._types.ServerReflectionResponse(
                valid_host=request.host, original_request=request
            )
            self._answer(request, response, sent)
            yield response

    def _answer(self, request: Any, response: Any, sent: set[str]) -> None:
        kind = request.WhichOneof("message_request")
        try:
            if kind == "list_services":
                listed = response.list_services_response
                listed.SetInParent()
                for name in sorted(self._services()):
                    listed.service.add(name=name)
            elif kind == "all_extension_numbers_of_type":
                self._extension_numbers(request.all_extension_numbers_of_type, response)
            elif kind is None:
                self._fail(response, GrpcCode.INVALID_ARGUMENT, "invalid MessageRequest")
            else:
                files = _with_dependencies(self._file(kind, request), sent)
                answer = response.file_descriptor_response
                answer.SetInParent()
                answer.file_descriptor_proto.extend(file.serialized_pb for file in files)
        except KeyError as error:
            self._fail(response, GrpcCode.NOT_FOUND, str(error.args[0]))

    def _file(self, kind: str, request: Any) -> FileDescriptor:
        pool = self._pool
        if kind == "file_by_filename":
            return pool.FindFileByName(request.file_by_filename)
        if kind == "file_containing_symbol":
            return pool.FindFileContainingSymbol(request.file_containing_symbol)
        wanted = request.file_containing_extension
        extended = pool.FindMessageTypeByName(wanted.containing_type)
        extension: Any = pool.FindExtensionByNumber(extended, wanted.extension_number)
        file: FileDescriptor = extension.file
        return file

    def _extension_numbers(self, name: str, response: Any) -> None:
        extended = self._pool.FindMessageTypeByName(name)
        numbers = sorted(found.number for found in self._pool.FindAllExtensions(extended))
        answer = response.all_extension_numbers_response
        answer.base_type_name = name
        answer.extension_number.extend(numbers)

    def _fail(self, response: Any, code: GrpcCode, text: str) -> None:
        response.error_response.error_code = int(code)
        response.error_response.error_message = text


def _with_dependencies(file: FileDescriptor, sent: set[str]) -> Iterator[FileDescriptor]:
    """A file and, after it, all it needs that this stream has not had yet."""
    waiting, first = [file], True
    while waiting:
        found = waiting.pop(0)
        if found.name in sent and not first:
            continue
        first = False
        sent.add(found.name)
        yield found
        waiting += [needed for needed in found.dependencies if needed.name not in sent]
