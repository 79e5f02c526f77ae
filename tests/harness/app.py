"""Applications beside a sidecar, as processes of their own.

``AppProcess`` runs any program that listens on the port it is given in ``APP_PORT``;
``RecordingApp`` is one without an SDK: it answers as told and reports each request.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.programs import Program, accepts_connections, free_port

Report = dict[str, Any]


class AppProcess(Program):
    """An application that writes JSON lines about what it saw to standard output.

    It is ready when it accepts connections on ``port``.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        exit_code: int | None = None,  # few applications handle SIGTERM
        port: int = 0,
        name: str = "",
    ) -> None:
        self.port = port or free_port()
        super().__init__(
            command,
            name=name or f"app {Path(command[-1]).name}",
            env={"APP_PORT": str(self.port), **(env or {})},
            cwd=cwd,
            exit_code=exit_code,
        )

    def is_ready(self) -> bool:
        """Whether the application listens."""
        return accepts_connections(self.port)

    def reports(self) -> list[Report]:
        """What it reported so far."""
        return [json.loads(line) for line in self.stdout_lines if line.startswith("{")]

    def wait_reports(self, count: int = 1, seconds: float = 40.0, **match: Any) -> list[Report]:
        """The first ``count`` reports with these values."""

        def accepts(line: str) -> bool:
            return line.startswith("{") and match.items() <= json.loads(line).items()

        return [json.loads(line) for line in self.wait_lines(accepts, count, seconds)]

    def wait_report(self, seconds: float = 40.0, **match: Any) -> Report:
        """The first report with these values."""
        return self.wait_reports(1, seconds, **match)[0]


class RecordingApp(AppProcess):
    """An HTTP application that answers by ``routes`` and reports every request.

    ``routes`` maps ``"METHOD /path"`` to ``{"status", "json", "body", "headers", "delay"}``, or to
    a list of these, used one after the other (the last one stays). Other requests get 404.
    A report has ``method``, ``path``, ``query``, ``headers`` (lower-case) and ``body``.
    """

    def __init__(self, routes: Mapping[str, Any], *, port: int = 0) -> None:
        script = str(Path(__file__).with_name("app_http.py"))
        super().__init__(
            [sys.executable, script, json.dumps(routes)], port=port, name="app", exit_code=0
        )
