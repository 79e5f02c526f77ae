"""Metrics, traces and logs: what a laptop has instead of Grafana and Zipkin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from dapr_dashboard import log_lines
from dapr_dashboard.history import Rate
from dapr_dashboard.markup import Html, anchor, badge, code, facts, html, link, table, tag
from dapr_dashboard.model import App
from dapr_dashboard.samples import (
    Samples,
    Traffic,
    component_traffic,
    grpc_traffic,
    http_traffic,
)
from dapr_dashboard.traces import Span, Trace
from dapr_dashboard.views.page import Shell, app_link, count, problem, since

_WIDTH, _HEIGHT = 240, 40
LINE_CHOICES = (100, 500, 2000)


# --- metrics --------------------------------------------------------------------------------------


def metrics(shell: Shell, apps: Sequence[App], rates: Mapping[str, Sequence[Rate]]) -> Html:
    """Traffic now and since the start, app by app."""
    rows = [
        (
            app_link(app),
            _line("Requests per second", [rate.per_second for rate in rates[app.path]]),
            _latest(rates[app.path], lambda rate: rate.per_second),
            _line("Mean milliseconds", [rate.mean_ms for rate in rates[app.path]]),
            _latest(rates[app.path], lambda rate: rate.mean_ms),
            _memory(app.live.samples),
            _seconds(app.live.samples),
        )
        for app in apps
    ]
    heads = ("App", "Requests/s", "Now", "Latency ms", "Now ms", "Memory", "CPU")
    return shell.page(
        "Metrics",
        tag(
            "p",
            "Lines are drawn from samples taken while somebody looks at the dashboard; they begin "
            "with the first look.",
        ),
        table("Traffic of each sidecar", heads, rows),
        *(_traffic_section(app) for app in apps),
    )


def _latest(rates: Sequence[Rate], chosen: Callable[[Rate], float]) -> str:
    return f"{chosen(rates[-1]):.1f}" if rates else ""


def _line(name: str, values: Sequence[float]) -> Html:
    """A small line; what it shows is said in its label, too."""
    if len(values) < 2:
        return tag("small", "not enough samples yet")
    most = max(*values, 0.001)
    step = _WIDTH / (len(values) - 1)
    points = " ".join(
        f"{number * step:.1f},{_HEIGHT - 2 - value / most * (_HEIGHT - 4):.1f}"
        for number, value in enumerate(values)
    )
    label = f"{name}, {len(values)} samples: from {min(values):.1f} to {max(values):.1f}"
    return tag(
        "svg",
        tag("polyline", points=points),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        width=_WIDTH,
        height=_HEIGHT,
        role="img",
        aria_label=label,
        class_="line",
    )


def _memory(samples: Samples) -> str:
    used = samples.total("process_resident_memory_bytes")
    return f"{used / (1 << 20):.0f} MiB" if used else ""


def _seconds(samples: Samples) -> str:
    used = samples.total("process_cpu_seconds_total")
    return f"{used:.1f} s" if used else ""


def _traffic_section(app: App) -> Html:
    samples = app.live.samples
    if not samples.values:
        return Html("")
    name = anchor("traffic", app.namespace, app.name)
    return tag(
        "section",
        tag("h2", f"{app.app_id} ({app.name})", id=name),
        _traffic("HTTP API since the start", http_traffic(samples)),
        _traffic("gRPC since the start", grpc_traffic(samples)),
        _traffic("Components since the start", component_traffic(samples)),
        aria_labelledby=name,
    )


def _traffic(caption: str, found: Sequence[Traffic]) -> Html:
    rows = [
        (
            code(each.what),
            f"{each.count:.0f}",
            badge("bad", f"{each.failed:.0f}") if each.failed else "0",
            _milliseconds(each.mean_ms),
            _milliseconds(each.p95_ms),
        )
        for each in found
    ]
    return table(caption, ("What", "Count", "Failed", "Mean ms", "95 % below ms"), rows)


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value >= 0 else ""


# --- traces ---------------------------------------------------------------------------------------


def traces(shell: Shell, found: Sequence[Trace], port: int, reason: str) -> Html:
    """The last traces. ``port`` is the receiver's, 0 with a reason when there is none."""
    rows = [
        (
            link(f"/traces/{quote(trace.id, safe='')}", trace.root.name or trace.id),
            ", ".join(trace.services),
            len(trace.spans),
            f"{trace.duration_us / 1000:.1f}",
            badge("bad", "error") if trace.failed else badge("good", "ok"),
            since(datetime.fromtimestamp(trace.start_us / 1e6, UTC), shell.now),
        )
        for trace in found
    ]
    how = (
        html(
            [
                "Spans are received at ",
                code(f"http://localhost:{port}/api/v2/spans"),
                ": name it as ",
                code("spec.tracing.zipkin.endpointAddress"),
                ' of a Configuration with samplingRate "1". ',
                "The last 200 traces are kept, in memory.",
            ]
        )
        if port
        else html(f"No spans are received: {reason}")
    )
    heads = ("Trace", "Services", "Spans", "ms", "State", "Age")
    return shell.page("Traces", tag("p", how), table("The last traces", heads, rows))


def trace(shell: Shell, found: Trace) -> Html:
    """One trace as a waterfall."""
    total = max(found.duration_us, 1)
    rows = [
        (
            tag("span", span.name or span.id, class_=f"depth d{min(depth, 9)}"),
            span.service,
            span.kind.lower(),
            span.status,
            f"{(span.start_us - found.start_us) / 1000:.1f}",
            f"{span.duration_us / 1000:.1f}",
            _bar(span, found.start_us, total),
        )
        for depth, span in found.ordered()
    ]
    heads = ("Span", "Service", "Kind", "Status", "Start ms", "ms", "When")
    return shell.page(
        f"Trace {found.root.name or found.id}",
        facts(
            {
                "Trace": code(found.id),
                "Duration": f"{found.duration_us / 1000:.1f} ms",
                "Services": ", ".join(found.services),
                "Spans": count(len(found.spans), "span"),
            }
        ),
        table("Spans in the order of their calls", heads, rows),
    )


def _bar(span: Span, start_us: int, total: int) -> Html:
    left = (span.start_us - start_us) / total * 100
    width = max(span.duration_us / total * 100, 0.5)
    return tag(
        "svg",
        tag("rect", x=f"{left:.2f}%", width=f"{width:.2f}%", y=2, height=12, rx=2),
        width="100%",
        height=16,
        class_="bar error" if span.error else "bar",
        aria_hidden="true",
    )


# --- logs -----------------------------------------------------------------------------------------


def log(shell: Shell, app: App, name: str, text: str, wanted: str, lines: int) -> Html:
    """The last lines of a log that hold a word."""
    found = [line for line in text.splitlines() if wanted.lower() in line.lower()]
    shown = found[-lines:]
    form = tag(
        "form",
        tag("label", "Lines with ", tag("input", name="q", value=wanted, type="search")),
        " ",
        tag(
            "label",
            "at most ",
            tag("select", *(_choice(number, lines) for number in LINE_CHOICES), name="lines"),
        ),
        " ",
        tag("input", type="hidden", name="refresh", value=shell.refresh) if shell.refresh else None,
        tag("button", "Show", type="submit"),
        method="get",
        action=shell.path,
        role="search",
    )
    body = html([_colored(line) for line in shown])
    said = f"{count(len(shown), 'line')} of {len(found)}."
    return shell.page(
        f"Log {name} of {app.app_id}",
        tag("p", app_link(app)),
        form,
        tag("p", said),
        tag("pre", body, tabindex=0, role="region", aria_label=f"Log {name}")
        if shown
        else tag("p", "No line.", class_="none"),
    )


def _choice(number: int, chosen: int) -> Html:
    return tag("option", number, value=number, selected=number == chosen)


_KINDS = {"fatal": "bad", "error": "bad", "warning": "warn"}


def _colored(line: str) -> Html:
    if kind := _KINDS.get(log_lines.level(line)):
        return html([tag("span", line, class_=kind), "\n"])
    return html([line, "\n"])


def failed(shell: Shell, title: str, text: str) -> Html:
    """A page that could not be made."""
    return shell.page(title, problem(text))
