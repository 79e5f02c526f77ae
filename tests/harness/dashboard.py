"""A real dapr-dashboard on a free port."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.html_page import Page, assert_accessible
from harness.http_call import Answer, call
from harness.programs import Program, free_port


class Dashboard(Program):
    """Its pages, parsed. ``zipkin_port`` 0 takes no spans."""

    def __init__(
        self,
        *flags: str,
        home: Path | None = None,
        zipkin_port: int = 0,
        command: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        exit_code: int | None = 0,
    ) -> None:
        self.port = free_port()
        own = [f"--port={self.port}"]
        if not command:
            own += [f"--zipkin-port={zipkin_port}", "--log-level=debug"]
            own += [f"--runtime-path={home}"] if home else []
        program = command or [sys.executable, "-m", "dapr_dashboard"]
        super().__init__(
            [*program, *own, *flags], name="dapr-dashboard", env=env, exit_code=exit_code
        )

    def is_ready(self) -> bool:
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def get(self, path: str, *, host: str = "", timeout: float = 60.0) -> Answer:
        """An answer as it comes; ``host`` is another ``Host`` header."""
        headers = {"Host": host} if host else {}
        return call(self.port, "GET", path, headers=headers, timeout=timeout)

    def page(self, path: str, *, status: int = 200) -> Page:
        """A page that is well-formed and accessible."""
        answer = self.get(path)
        assert answer.status == status, (path, answer.status, answer.body)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Page(answer.body.decode())
        assert_accessible(page)
        return page

    def app(self, app_id: str) -> str:
        """The path of the only instance of an app."""
        (found,) = (
            str(link.attributes["href"])
            for link in self.page("/").root.all("a")
            if link.text == app_id
        )
        return found

    def crawl(self, start: str = "/", *, app: str) -> Iterator[tuple[str, Page]]:
        """Every page that links lead to from one; of apps only the one with this path."""
        seen, waiting = {start}, deque([start])
        while waiting:
            path = waiting.popleft()
            page = self.page(path)
            yield path, page
            for link in page.links:
                target = link.partition("#")[0].partition("?")[0]
                if target in seen or not target.startswith("/"):
                    continue
                if target.startswith("/apps/") and not target.startswith(app):
                    continue
                seen.add(target)
                waiting.append(target)
