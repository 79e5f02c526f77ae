from __future__ import annotations

import json
import logging
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_common import RUNTIME_VERSION
from dapr_common.observe import logs

HOST = socket.gethostname()
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, scope = logging.getLogger(), logging.getLogger("dapr")
    before = root.handlers[:], root.level, scope.level
    switches = ("raiseExceptions", "logThreads", "logProcesses", "logMultiprocessing")
    values = [getattr(logging, name) for name in switches]
    yield
    for handler in root.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()
    root.handlers[:], root.level, scope.level = before
    for name, value in zip(switches, values, strict=True):
        setattr(logging, name, value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "daprd.log"


def log(file: Path, *, level: str = "info", as_json: bool = False, app_id: str = "a1") -> None:
    logs.setup(level, as_json=as_json, app_id=app_id, file=str(file))


def test_a_line_of_text(file: Path) -> None:
    log(file)
    logs.get_logger("dapr.runtime").info("dapr initialized. Status: %s", "Running")
    assert re.fullmatch(
        rf'time="{TIME}" level=info msg="dapr initialized. Status: Running" app_id=a1 '
        rf"instance={re.escape(HOST)} scope=dapr.runtime type=log ver={RUNTIME_VERSION}\n",
        file.read_text(),
    )


def test_a_line_of_json(file: Path) -> None:
    log(file, as_json=True)
    fields = {"method": "GET /v1.0/metadata", "code": 200, "duration": 3}
    logs.get_logger("dapr.runtime.http-info").info("HTTP API Called", extra={"fields": fields})
    line = file.read_text()
    body = json.loads(line)
    assert list(body) == sorted(body)
    assert re.fullmatch(TIME, body.pop("time"))
    assert body == {
        **fields,
        "app_id": "a1",
        "instance": HOST,
        "level": "info",
        "msg": "HTTP API Called",
        "scope": "dapr.runtime.http-info",
        "type": "log",
        "ver": RUNTIME_VERSION,
    }
    assert line.startswith('{"app_id":"a1","code":200,')


def test_fields_are_sorted_among_the_others(file: Path) -> None:
    log(file)
    fields = {"method": "/a.B/C", "code": 0}
    logs.get_logger("dapr.runtime").warning("x", extra={"fields": fields})
    assert " level=warning msg=x app_id=a1 code=0 instance=" in file.read_text()
    assert " method=/a.B/C scope=" in file.read_text()


@pytest.mark.parametrize("as_json", [False, True])
def test_before_the_app_id_is_known(file: Path, as_json: bool) -> None:
    log(file, as_json=as_json, app_id="")
    logs.get_logger("dapr.runtime").info("x")
    assert "app_id" not in file.read_text()


def test_the_names_of_the_levels(file: Path) -> None:
    log(file, level="debug", as_json=True)
    logger = logs.get_logger("dapr.runtime")
    for level in (10, 20, 30, 40, 50):
        logger.log(level, "x")
    found = [json.loads(line)["level"] for line in file.read_text().splitlines()]
    assert found == ["debug", "info", "warning", "error", "fatal"]


@pytest.mark.parametrize(
    ("level", "count"),
    [("debug", 5), ("info", 4), ("WARN", 3), ("warning", 3), ("Error", 2), ("fatal", 1)],
)
def test_levels_keep_lines_back(file: Path, level: str, count: int) -> None:
    log(file, level=level)
    for number in (10, 20, 30, 40, 50):
        logs.get_logger("dapr.runtime.pubsub").log(number, "x")
    assert len(file.read_text().splitlines()) == count


def test_api_calls_are_logged_at_any_level(file: Path) -> None:
    log(file, level="fatal")
    logs.get_logger("dapr.runtime.http-info").info("HTTP API Called")
    logs.get_logger("dapr.runtime.grpc.api-info").info("gRPC API Called")
    assert len(file.read_text().splitlines()) == 2


def test_a_level_that_is_none(file: Path) -> None:
    with pytest.raises(ValueError, match="invalid value for --log-level: loud"):
        log(file, level="loud")


def test_libraries_keep_to_warnings(file: Path) -> None:
    log(file, level="debug")
    logging.getLogger("asyncio").info("no")
    logging.getLogger("asyncio").warning("yes")
    assert [line.split(" msg=")[1].split()[0] for line in file.read_text().splitlines()] == ["yes"]


def test_lines_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("info", as_json=False, app_id="a1")
    logs.get_logger("dapr.runtime").info("here")
    captured = capsys.readouterr()
    assert "msg=here" in captured.out
    assert captured.err == ""


def test_stdout_that_cannot_show_a_character(capsys: pytest.CaptureFixture[str]) -> None:
    sys.stdout.reconfigure(encoding="ascii")  # type: ignore[union-attr]
    logs.setup("info", as_json=True, app_id="a1")
    logs.get_logger("dapr.runtime").info("gr\xfc\xdfe \ud800")
    assert r"gr\xfc\xdfe \ud800" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True])
def test_an_exception_is_one_line(file: Path, as_json: bool) -> None:
    log(file, as_json=as_json)
    try:
        raise OSError("no such thing")
    except OSError:
        logs.get_logger("dapr.runtime").exception("it failed")
    [line] = file.read_text().splitlines()
    assert "it failed: Traceback" in line
    assert "OSError: no such thing" in line


def test_wrong_arguments_lose_no_line(file: Path) -> None:
    log(file)
    logs.get_logger("dapr.runtime").info("%d", "x")
    assert "%d ('x',)" in file.read_text()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain-._/@^+1", "plain-._/@^+1"),
        ("", ""),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x" \\', r'"say \"x\" \\"'),
        ("a\nb\tc\rd\x00\x7f", r'"a\nb\tc\rd\x00\x7f"'),
        ("gr\xfc\xdfe", '"gr\xfc\xdfe"'),
        ("\u2028\ufeff", r'"\u2028\ufeff"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_values_are_quoted_as_logrus_does(text: str, shown: str) -> None:
    assert logs._quoted(text) == shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_can_write_a_second_line(text: str) -> None:
    record = logging.LogRecord("dapr.x", 20, "", 0, "%s", (text,), None)
    assert len(logs._TextFormatter("a").format(record).splitlines()) == 1
    line = logs._JsonFormatter("a").format(record)
    assert json.loads(line)["msg"] == text
    assert "\n" not in line


def test_nanoseconds_never_round_up_to_the_next_second() -> None:
    record = logging.LogRecord("dapr.x", 20, "", 0, "x", (), None)
    record.created = 1_700_000_000.9999997
    time = logs._TextFormatter("a").fields(record)[0]
    assert time.startswith("2023-11-14T22:13:20.9999")
