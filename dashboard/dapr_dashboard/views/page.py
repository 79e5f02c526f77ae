"""What every page has: the head, the way around, times and states in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

from dapr_cli.render import age
from dapr_common import RUNTIME_VERSION
from dapr_dashboard.markup import Content, Html, badge, html, link, rooted, tag
from dapr_dashboard.model import App, Health

PAGES = {
    "/": "Applications",
    "/components": "Components",
    "/configurations": "Configurations",
    "/resiliency": "Resiliency",
    "/actors": "Actors",
    "/controlplane": "Control plane",
    "/metrics": "Metrics",
    "/traces": "Traces",
}
REFRESH_SECONDS = (0, 5, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """What surrounds a page's own content."""

    path: str
    """Of the request, percent-encoded, without the base path."""
    where: str
    """What is looked at: this machine, or a cluster."""
    now: datetime
    refresh: int = 0
    """Seconds after which the page is asked for again; 0 is never."""
    query: Mapping[str, str] = field(default_factory=dict)
    """What else the page was asked with: it stays when the refresh is chosen."""
    base: str = ""
    """The path below which a proxy shows the dashboard, such as ``/dapr``."""

    def page(self, title: str, *content: Content) -> Html:
        """The whole document."""
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("meta", http_equiv="refresh", content=self.refresh) if self.refresh else None,
            tag("title", f"{title} - Dapr dashboard"),
            tag("link", rel="icon", href="data:,"),
            tag("link", rel="stylesheet", href="/static/style.css"),
        )
        main = tag("main", tag("h1", title), *content, id="content", tabindex=-1)
        body = tag("body", self._top(), main, self._foot())
        document = Html(f"<!doctype html>\n{tag('html', head, body, lang='en')}\n")
        return rooted(document, self.base)

    def _top(self) -> Html:
        entries = [
            tag("li", tag("a", name, href=path, aria_current="page" if self._on(path) else None))
            for path, name in PAGES.items()
        ]
        return html(
            [
                tag("a", "Skip to the content", href="#content", class_="skip"),
                tag(
                    "header",
                    tag("p", tag("strong", "Dapr dashboard"), " ", tag("span", self.where)),
                    tag("nav", tag("ul", *entries), aria_label="Pages"),
                ),
            ]
        )

    def _on(self, path: str) -> bool:
        if path == "/":
            return self.path in ("/", "/overview") or self.path.startswith("/apps/")
        return self.path == path or self.path.startswith(f"{path}/")

    def _foot(self) -> Html:
        choices: list[Content] = []
        for seconds in REFRESH_SECONDS:
            name = f"every {seconds} s" if seconds else "by hand"
            current = "true" if seconds == self.refresh else None
            query = {**self.query, **({"refresh": str(seconds)} if seconds else {})}
            target = f"{self.path}?{urlencode(query)}" if query else self.path
            choices += [" ", tag("a", name, href=target, aria_current=current)]
        return tag(
            "footer",
            tag("p", f"As of {self.now:%Y-%m-%d %H:%M:%S} UTC. Refresh:", *choices),
            tag("p", f"Runtime version {RUNTIME_VERSION}. Secrets are never shown."),
        )


def since(moment: datetime | None, now: datetime) -> Html:
    """How long ago something was, with the time itself for who asks."""
    if moment is None:
        return Html("")
    shown = age((now - moment).total_seconds())
    return tag(
        "time",
        shown,
        datetime=moment.astimezone(UTC).isoformat(timespec="seconds"),
        title=f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
    )


def state(health: Health, text: str) -> Html:
    """A state with the colour of its health."""
    return badge(health, text)


def app_link(app: App) -> Html:
    """The app's name as the way to its page."""
    return link(app.path, app.app_id or app.name)


def problem(text: str) -> Html:
    """What went wrong, where people look."""
    return tag("p", text, class_="problem", role="alert") if text else Html("")


def count(number: int, noun: str) -> str:
    """``1 component``, ``2 components``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
