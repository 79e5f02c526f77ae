"""A test that waits for ever fails, by name, instead of blocking the run.

A failed test shows the last lines of the programs that were running.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import inspect
import os
import resource
import signal
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any

import hypothesis
import pytest
from harness import programs
from harness.backends import Backends, running_backends

LIMIT_SECONDS = 60
_SLOW_WATCH_SECONDS = 360  # a slow test's limit, and what it sets up and takes down

# How long one example takes says more of the machine's other work than of the code. What has to be
# the same twice (CI) tries the same examples; everybody else's runs look for new ones.
hypothesis.settings.register_profile(
    "shared machine", deadline=None, derandomize="CI" in os.environ
)
hypothesis.settings.load_profile("shared machine")

# A claimed port is a descriptor held to the end of the run (harness.programs.free_port). No more:
# some brokers make tables of as many places as they may open files.
_now, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(_now, min(_most, 16_384)), _most))

if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # Under nohup: go on ignoring it, but by a handler, which started programs do not inherit.
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite the files in tests/golden")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            marker = item.get_closest_marker("slow")
            item.obj = _limited(item.obj, LIMIT_SECONDS * (4 if marker else 1))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A slow test may take longer than the watch over those that block the loop lets others."""
    if item.get_closest_marker("slow"):
        faulthandler.dump_traceback_later(_SLOW_WATCH_SECONDS, exit=True)


@pytest.fixture(scope="session")
def backends() -> Iterator[Backends]:
    """Servers and emulators, each started when a test first asks for it."""
    yield from running_backends()


def _limited(
    test: Callable[..., Coroutine[Any, Any, None]], seconds: float
) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def run(*arguments: Any, **named: Any) -> None:
        try:
            async with asyncio.timeout(seconds) as limit:
                await test(*arguments, **named)
        except TimeoutError:
            if limit.expired():
                pytest.fail(f"still waiting after {seconds} s")
            raise

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _make_sendable(report)
    if report.failed and call.when == "call":
        for program in programs.running:
            report.sections.append((program.name, program.tail()))
    return report


def _make_sendable(report: pytest.TestReport) -> None:
    """Half a character in a failure or a log would end the whole run: it cannot be sent."""
    report.sections = [(title, _sendable(text)) for title, text in report.sections]
    text = str(report.longrepr) if report.failed else ""
    if _sendable(text) != text:
        report.longrepr = _sendable(text)


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
