"""A binding that goes both ways: files of a folder, and an event for each that is created."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dapr_sidecar.components.base import ComponentContext
from dapr_sidecar.components.bindings.base import (
    Event,
    EventHandler,
    InputBinding,
    InvokeRequest,
    InvokeResponse,
    OutputBinding,
)
from dapr_sidecar.components.metadata import setting

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class MyBindingSettings:
    """What a manifest may say."""

    path: str = setting("path", help="the folder")


class MyBinding(InputBinding, OutputBinding):
    """An event is taken once the application answers; until then it is tried again."""

    settings = MyBindingSettings
    operations = ("create", "get", "delete")

    def __init__(self, settings: MyBindingSettings, context: ComponentContext) -> None:
        super().__init__(settings, context)
        self._items = Path(settings.path) / "items"
        self._events = Path(settings.path) / "events"
        self._stopping = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        for folder in (self._items, self._events):
            folder.mkdir(parents=True, exist_ok=True)

    async def close(self) -> None:
        await self.stop()

    # --- out --------------------------------------------------------------------------------

    async def invoke(self, request: InvokeRequest) -> InvokeResponse | None:
        self.check_operation(request)
        key = request.metadata.get("key", "")
        if request.operation == "create":
            name = quote(key or "unnamed", safe="")
            (self._items / name).write_bytes(request.data)
            (self._events / name).write_bytes(request.data)
            return None
        if not key:
            raise ValueError("the request's metadata needs 'key'")
        item = self._items / quote(key, safe="")
        if request.operation == "delete":
            item.unlink(missing_ok=True)
            return None
        return InvokeResponse(item.read_bytes())

    # --- in ---------------------------------------------------------------------------------

    async def start(self, handler: EventHandler) -> None:
        self._stopping.clear()
        self._reading = asyncio.create_task(self._read(handler))

    async def stop(self) -> None:
        self._stopping.set()
        if self._reading is not None:
            await asyncio.wait([self._reading])

    async def _read(self, handler: EventHandler) -> None:
        while not self._stopping.is_set():
            for file in sorted(self._events.iterdir()):
                if self._stopping.is_set():
                    return
                try:
                    await handler(Event(file.read_bytes(), {"key": file.name}))
                except Exception as error:  # noqa: BLE001 - whatever it was, it comes again
                    print(f"{file.name}: {error}")
                else:
                    file.unlink()
            await asyncio.sleep(_LOOK_SECONDS)
