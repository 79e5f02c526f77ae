"""A real headless Chromium, asked over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp
from harness.programs import Program

_FLAGS = (
    "--headless",
    "--no-sandbox",  # as root it would not start with one
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_ANSWER_SECONDS = 60.0
DARK, LIGHT = "dark", "light"


def chromium() -> str:
    """The program; empty when it is not here."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")


class Chromium(Program):
    """The process, with a profile of its own."""

    def __init__(self) -> None:
        self.profile = Path(tempfile.mkdtemp(prefix="chromium-"))
        command = [chromium(), *_FLAGS, f"--user-data-dir={self.profile}", "about:blank"]
        super().__init__(command, name="chromium", exit_code=None, start_seconds=120.0)

    @property
    def port(self) -> int:
        """Where DevTools answer; 0 before."""
        try:
            return int((self.profile / "DevToolsActivePort").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return 0

    def is_ready(self) -> bool:
        return self.port > 0

    def ended(self) -> None:
        shutil.rmtree(self.profile, ignore_errors=True)


class Browser:
    """One page of it. ``complaints`` are what its console said: refused styles, missing files."""

    def __init__(self, process: Chromium) -> None:
        self._process = process
        self._numbers = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        async with self._session.get(
            f"http://127.0.0.1:{self._process.port}/json/list"
        ) as response:
            pages = await response.json()
        url = next(each["webSocketDebuggerUrl"] for each in pages if each["type"] == "page")
        self._socket = await self._session.ws_connect(url, max_msg_size=64 << 20)
        self._reading = asyncio.create_task(self._read())
        for domain in ("Page", "Log", "Runtime", "Accessibility"):
            await self.ask(f"{domain}.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.wait({self._reading})
        await self._socket.close()
        await self._session.close()

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command and its answer."""
        self._numbers += 1
        number = self._numbers
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await answer

    async def go(self, url: str) -> None:
        """Open a page and wait until it is there with its styles."""
        self._loaded.clear()
        await self.ask("Page.navigate", url=url)
        await self._wait_loaded()

    async def follow(self, expression: str) -> None:
        """Click the element an expression gives, and wait for the page it leads to."""
        self._loaded.clear()
        await self.run(f"({expression}).click()")
        await self._wait_loaded()

    async def run(self, expression: str) -> Any:
        """What an expression is worth in the page; the page itself has no scripts."""
        answer = await self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def press(self, key: str, code: int) -> None:
        """A key, down and up."""
        for kind in ("keyDown", "keyUp"):
            await self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    async def look(self, *, theme: str = LIGHT, width: int = 1280, height: int = 800) -> None:
        """Another theme or size of the window, from now on."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        await self.ask("Emulation.setEmulatedMedia", features=features)
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def screenshot(self, path: Path) -> None:
        """The page as it is seen."""
        answer = await self.ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    async def tree(self) -> list[dict[str, Any]]:
        """What a screen reader is given: role and name of everything that is not ignored."""
        nodes = (await self.ask("Accessibility.getFullAXTree"))["nodes"]
        return [
            {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
            for node in nodes
            if not node["ignored"]
        ]

    async def _wait_loaded(self) -> None:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await self._loaded.wait()

    async def _read(self) -> None:
        async for message in self._socket:
            body = message.json()
            if (number := body.get("id")) is not None:
                self._answered(number, body)
            elif body["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif body["method"] == "Log.entryAdded":
                self._complained(body["params"]["entry"])

    def _answered(self, number: int, body: Mapping[str, Any]) -> None:
        answer = self._answers.pop(number)
        if "error" in body:
            answer.set_exception(AssertionError(str(body["error"])))
        else:
            answer.set_result(body["result"])

    def _complained(self, entry: Mapping[str, Any]) -> None:
        self.complaints.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")
