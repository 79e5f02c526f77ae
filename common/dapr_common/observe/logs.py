"""Log lines as Dapr writes them: logrus-like text or JSON, one line each."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import sys
from datetime import UTC, datetime
from typing import Any

from dapr_common import RUNTIME_VERSION
from dapr_common.go_quoting import go_quoted
from dapr_common.observe import last_words
from dapr_common.observe.service_manager import JournalFormatter, goes_to_journal

_PLAIN = re.compile(r"[A-Za-z0-9\-._/@^+]+")
_NAMES = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
LEVELS = tuple(_LEVELS)
_usual = [logging.INFO]
"""The level that was asked for."""
_API_SCOPES = ("dapr.runtime.http-info", "dapr.runtime.grpc.api-info")


def get_logger(scope: str) -> logging.Logger:
    """The logger of a scope such as ``dapr.runtime``; extra fields by ``extra={"fields": {}}``."""
    return logging.getLogger(scope)


def setup(level: str, *, as_json: bool, app_id: str, file: str | None = None) -> None:
    """Configure the whole process. API call lines are always written, as Dapr does."""
    handler: logging.Handler
    formatter: logging.Formatter = _JsonFormatter(app_id) if as_json else _TextFormatter(app_id)
    if file:
        handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A record with a lone surrogate must not be lost to an encoding error.
            sys.stdout.reconfigure(errors="backslashreplace")
        handler = logging.StreamHandler(sys.stdout)
        if goes_to_journal(sys.stdout):
            formatter = JournalFormatter(formatter)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    if last_words.FILE.exists():
        root.handlers.append(last_words.LastWords(last_words.FILE))
    root.setLevel(logging.WARNING)
    set_level(level)
    logging.raiseExceptions = False
    # Facts no line shows; asking for them costs at every record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for scope in _API_SCOPES:
        logging.getLogger(scope).setLevel(logging.INFO)


def set_level(level: str) -> None:
    """Change the level of every Dapr scope; other libraries keep to warnings.

    Raises ``ValueError`` for a name that is no level.
    """
    if (number := _LEVELS.get(level.lower())) is None:
        raise ValueError(f"invalid value for --log-level: {level}")
    _usual[:] = [number]
    logging.getLogger("dapr").setLevel(number)


def toggle_debug() -> None:
    """Log everything until this is called again: what SIGUSR1 does."""
    logger = logging.getLogger("dapr")
    logger.setLevel(_usual[0] if logger.level == logging.DEBUG else logging.DEBUG)
    logger.critical("SIGUSR1: log level set to: %s", _NAMES[logger.level])


class _Formatter(logging.Formatter):
    def __init__(self, app_id: str) -> None:
        super().__init__()
        self._base: dict[str, Any] = {
            "instance": socket.gethostname(),
            "type": "log",
            "ver": RUNTIME_VERSION,
        }
        if app_id:
            self._base["app_id"] = app_id

    def fields(self, record: logging.LogRecord) -> tuple[str, str, str, dict[str, Any]]:
        # Whole seconds only: rounding must not push the nanoseconds into the next one.
        moment = datetime.fromtimestamp(int(record.created), UTC)
        nanos = int(record.created % 1 * 1_000_000_000)
        time = f"{moment:%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"
        message = _message(record)
        if record.exc_info and record.exc_info[0] is not None:
            message = f"{message}: {self.formatException(record.exc_info)}"
        others = {**self._base, "scope": record.name, **getattr(record, "fields", {})}
        return time, _NAMES.get(record.levelno, "info"), message, others


class _TextFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time, level, message, others = self.fields(record)
        parts = [f"time={_quoted(time)}", f"level={level}", f"msg={_quoted(message)}"]
        parts += [f"{name}={_quoted(str(others[name]))}" for name in sorted(others)]
        return " ".join(parts)


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time, level, message, others = self.fields(record)
        body = {**others, "time": time, "level": level, "msg": message}
        return json.dumps(
            body, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str
        )


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - a line with wrong arguments is still a line
        return f"{record.msg} {record.args!r} ({error})"


def _quoted(text: str) -> str:
    """A value as logrus prints it: quoted as Go does where it is more than plain."""
    if not text or _PLAIN.fullmatch(text):
        return text
    return go_quoted(text)
