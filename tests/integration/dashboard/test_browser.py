"""The pages in a real Chromium: both themes, small screens, a keyboard, sites that mean no good.

``--update`` writes docs/screenshots; run it where no other sidecars are seen, such as in a process
namespace of its own: ``unshare --pid --fork --mount-proc pytest … --update``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from harness.actor_hosts import host, sqlite
from harness.app import RecordingApp
from harness.browser import DARK, LIGHT, Browser, Chromium, chromium
from harness.dashboard import Dashboard
from harness.http_call import call
from harness.identified import identified
from harness.placement_process import Placement
from harness.programs import free_port
from harness.sentry import Sentry
from harness.sidecar import Sidecar, component, resource

from dapr_dashboard.views.page import PAGES

pytestmark = [
    pytest.mark.skipif(not chromium(), reason="not here: chromium"),
    pytest.mark.slow,
]
SCREENSHOTS = Path(__file__).parents[3] / "docs" / "screenshots"
KEPT = (
    *("applications", "application", "log", "components", "configurations", "resiliency"),
    *("actors", "controlplane", "metrics", "traces", "trace"),
    *("applications-dark", "components-dark", "log-dark", "metrics-dark", "trace-dark"),
)
GROUND = {LIGHT: "rgb(255, 255, 255)", DARK: "rgb(21, 23, 30)"}
TAB, ENTER = ("Tab", 9), ("Enter", 13)
# Texts whose colour is too near to that of the ground they stand on: WCAG's 4.5 to 1.
PALE = """
(() => {
  const parts = colour => colour.match(/[0-9.]+/g).map(Number);
  const light = part => part / 255 <= 0.03928 ? part / 255 / 12.92
    : ((part / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = colour => {
    const [red, green, blue] = parts(colour).map(light);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const hasText = element => [...element.childNodes].some(
    node => node.nodeType === 3 && node.textContent.trim());
  return [...document.body.querySelectorAll('*')].filter(hasText).map(element => {
    const ours = luminance(getComputedStyle(element).color), its = luminance(ground(element));
    const ratio = (Math.max(ours, its) + 0.05) / (Math.min(ours, its) + 0.05);
    return [ratio, element.outerHTML.slice(0, 80)];
  }).filter(([ratio]) => ratio < 4.5);
})()
"""


@dataclass(frozen=True)
class Shop:
    """Applications that call each other, actors, a store that is down, a breaker that is open."""

    dashboard: Dashboard
    zipkin_port: int
    orders: str
    payments: str
    order: Callable[[int], None]
    """Some requests of the applications."""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.dashboard.port}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Shop]:
    folder, port = tmp_path_factory.mktemp("shop"), free_port()
    # Other test runs are reached by mDNS.
    suffix = "" if pytestconfig.getoption("--update") else f"-{secrets.token_hex(4)}"
    payments = f"payments{suffix}"
    with ExitStack() as stack:
        dashboard = stack.enter_context(Dashboard(home=folder, zipkin_port=port))
        sentry = stack.enter_context(Sentry())
        placement = stack.enter_context(Placement())
        flag = f"--placement-host-address={placement.address}"
        config = {
            "tracing": {
                "samplingRate": "1",
                "zipkin": {"endpointAddress": f"http://127.0.0.1:{port}/api/v2/spans"},
            },
        }
        guarded = {**config, "accessControl": _access(f"orders{suffix}")}
        app = stack.enter_context(RecordingApp({"POST /pay": {"body": "paid", "delay": 0.02}}))
        stack.enter_context(identified(sentry, payments, app_port=app.port, config=guarded))
        orders = stack.enter_context(
            identified(sentry, f"orders{suffix}", resources=_resources(payments), config=config)
        )
        carts = stack.enter_context(host(sqlite(folder), flag, config='{"entities":["Cart"]}'))
        dashboard.get("/metrics")  # somebody looks: samples are taken from now on
        for number in range(40):
            _order(orders, payments, number)
            carts.call("POST", f"/v1.0/actors/Cart/{number % 8}/method/add")
        _keep_log(orders, folder)
        yield Shop(dashboard, port, orders.app_id, payments, lambda n: _order(orders, payments, n))


def _keep_log(sidecar: Sidecar, folder: Path) -> None:
    """As ``dapr run -f`` does it."""
    file = folder / ".dapr" / "logs" / "orders.log"
    file.parent.mkdir(parents=True)
    file.write_text(sidecar.log)
    path = "/v1.0/metadata/daprdLogPath"
    assert call(sidecar.http_port, "PUT", path, str(file).encode()).status == 204


def _access(caller: str) -> dict[str, object]:
    pay = {"name": "/pay", "httpVerb": ["POST"], "action": "allow"}
    policy = {
        "appId": caller,
        "defaultAction": "deny",
        "trustDomain": "public",
        "namespace": "default",
        "operations": [pay],
    }
    return {"defaultAction": "deny", "trustDomain": "public", "policies": [policy]}


def _resources(payments: str) -> list[dict[str, object]]:
    down = component("archive", "state.redis", redisHost="127.0.0.1:9", redisPassword="topsecret")
    down["spec"]["ignoreErrors"] = True
    fuse = {"timeout": "5m", "trip": "consecutiveFailures >= 3"}
    spec = {
        "policies": {
            "timeouts": {"short": "2s"},
            "retries": {"twice": {"policy": "constant", "maxRetries": 2, "duration": "10ms"}},
            "circuitBreakers": {"fuse": fuse},
        },
        "targets": {
            "components": {"mailer": {"outbound": {"circuitBreaker": "fuse", "timeout": "short"}}},
            "apps": {payments: {"retry": "twice", "timeout": "short"}},
        },
    }
    return [
        component("orders-store", "state.in-memory"),
        component("mailer", "bindings.http", url="http://127.0.0.1:9"),
        component("bus", "pubsub.in-memory"),
        down,
        resource("Resiliency", "shop-policies", spec),
    ]


def _order(sidecar: Sidecar, payments: str, number: int) -> None:
    def ask(method: str, path: str, body: object) -> None:
        call(sidecar.http_port, method, path, body)

    ask("POST", "/v1.0/state/orders-store", [{"key": f"o{number}", "value": {"total": number}}])
    ask("GET", f"/v1.0/state/orders-store/o{number}", None)
    ask("POST", "/v1.0/publish/bus/ordered", {"order": number})
    if number % 4 == 0:
        ask("POST", f"/v1.0/invoke/{payments}/method/pay", {"order": number})
    if number % 10 == 0:
        ask("POST", "/v1.0/bindings/mailer", {"operation": "get"})


@pytest.fixture(scope="module")
def process(shop: Shop) -> Iterator[Chromium]:
    with Chromium() as program:
        yield program


@pytest.fixture
async def browser(process: Chromium) -> AsyncIterator[Browser]:
    async with Browser(process) as page:
        yield page


async def pages_of(shop: Shop) -> dict[str, str]:
    """Names of screenshots → paths: every page there is, of apps and traces one each."""
    found = {path.strip("/") or "applications": path for path in PAGES}
    found["application"] = await asyncio.to_thread(shop.dashboard.app, shop.orders)
    found["log"] = f"{found['application']}/logs/daprd?lines=100"
    async with asyncio.timeout(60):
        while "trace" not in found:
            page = await asyncio.to_thread(shop.dashboard.page, "/traces")
            for row, link in zip(page.table("The last traces"), _traces(page.links), strict=True):
                if row["Services"] == f"{shop.orders}, {shop.payments}":
                    found.setdefault("trace", link)  # the newest: old ones are forgotten
            await asyncio.sleep(0.2)
    return found


def _traces(links: list[str]) -> list[str]:
    return [link for link in links if link.startswith("/traces/")]


async def drawn(shop: Shop, points: int) -> None:
    """Go on with requests until there are lines to see."""
    async with asyncio.timeout(120):
        for number in itertools.count():
            page = await asyncio.to_thread(shop.dashboard.page, "/metrics")
            lines = page.root.all("polyline")
            if len(lines) >= 4 and len(str(lines[0].attributes["points"]).split()) >= points:
                return
            for each in range(number * 7 % 12):
                await asyncio.to_thread(shop.order, each)
            await asyncio.sleep(0.5)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
async def test_every_page_can_be_read(
    shop: Shop, browser: Browser, theme: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    is_kept = pytestconfig.getoption("--update")
    await drawn(shop, 10 if is_kept else 2)
    for name, path in (await pages_of(shop)).items():
        for width in (1280, 360):
            await browser.look(theme=theme, width=width)
            await browser.go(shop.url + path)
            wide = await browser.run("document.documentElement.scrollWidth")
            assert wide <= width, f"{path} is {wide} wide on a screen of {width}"
            ground = await browser.run("getComputedStyle(document.body).backgroundColor")
            assert ground == GROUND[theme]
            assert await browser.run(PALE) == [], path
            if width > 1000:
                suffix = "-dark" if theme == DARK else ""
                folder = SCREENSHOTS if is_kept and name + suffix in KEPT else tmp_path
                await browser.screenshot(folder / f"{name}{suffix}.png")
        assert not await browser.run("document.documentElement.outerHTML.includes('topsecret')")
    assert browser.complaints == []


async def test_names_that_are_markup_are_only_read(
    shop: Shop, browser: Browser, app_id: str
) -> None:
    """Nothing of them runs, links lead where they say, and the page fits a small screen."""
    names = ["<img src=x onerror=alert(1)>", "a b c", "ünïcödé" * 12, "content", "x" * 120]
    resources = [
        component(f"placeholder-{number}", "state.in-memory") for number in range(len(names))
    ]
    for manifest, name in zip(resources, names, strict=True):
        manifest["metadata"]["name"] = name
    with Sidecar(app_id) as sidecar:
        for number, manifest in enumerate(resources):
            (sidecar.resources_path / f"{number}.yaml").write_text(yaml.safe_dump(manifest))
        path = await asyncio.to_thread(shop.dashboard.app, app_id)
        for page in (path, "/components"):
            await browser.look(width=360)
            await browser.go(shop.url + page)
            assert await browser.run("document.querySelectorAll('main img, script').length") == 0
            assert await browser.run("document.documentElement.scrollWidth") <= 360
        for name in names:
            text = json.dumps(name)
            await browser.run(f"[...document.links].find(a => a.textContent === {text}).click()")
            assert (
                await browser.run("document.getElementById(location.hash.slice(1)).textContent")
                == name
            )
    assert browser.complaints == []


async def test_a_filter_stays_when_the_page_is_refreshed(shop: Shop, browser: Browser) -> None:
    log = (await pages_of(shop))["log"]
    await browser.go(f"{shop.url}{log}&q=loaded")
    before = await browser.run("document.querySelector('pre').textContent")
    await browser.follow("[...document.links].find(each => each.textContent === 'every 5 s')")
    assert await browser.run("document.querySelector('pre').textContent") == before
    assert await browser.run("document.querySelector('[name=q]').value") == "loaded"
    await browser.run("document.querySelector('[name=q]').value = 'initialized'")
    await browser.follow("document.querySelector('button')")
    assert await browser.run("location.search.includes('refresh=5')")


async def test_a_keyboard_is_enough(shop: Shop, browser: Browser) -> None:
    await browser.look()
    await browser.go(f"{shop.url}/components")
    await browser.press(*TAB)
    focused = "document.activeElement"
    assert await browser.run(f"{focused}.textContent") == "Skip to the content"
    assert await browser.run(f"{focused}.getBoundingClientRect().left") >= 0
    await browser.press(*TAB)
    assert await browser.run(f"{focused}.getAttribute('href')") == "/"
    assert await browser.run(f"getComputedStyle({focused}).outlineStyle") == "solid"
    wanted = {"/metrics", "#component-archive", "All components", "Settings of archive"}
    for _ in range(2000):  # there are as many links as other tests' sidecars have components
        await browser.press(*TAB)
        wanted.discard(await browser.run(f"{focused}.getAttribute('href') || {focused}.ariaLabel"))
        if not wanted:
            break
    assert wanted == set()


async def test_what_a_screen_reader_is_given(shop: Shop, browser: Browser) -> None:
    await browser.go(f"{shop.url}/")
    nodes = await browser.tree()
    names = {(node["role"], node["name"]) for node in nodes}
    for wanted in (
        ("navigation", "Pages"),
        ("heading", "Applications"),
        ("table", "Applications and their sidecars"),
        ("rowheader", shop.orders),
        ("columnheader", "Sidecar"),
        ("link", "Components"),
    ):
        assert wanted in names
    assert {"banner", "main", "contentinfo"} <= {node["role"] for node in nodes}


async def test_a_way_through_the_pages(shop: Shop, browser: Browser) -> None:
    await browser.go(f"{shop.url}/")
    await browser.follow(
        "[...document.links].find(each => each.textContent === '" + shop.orders + "')"
    )
    assert await browser.run("document.querySelector('h1').textContent") == shop.orders
    await browser.follow("[...document.links].find(each => each.textContent === 'archive')")
    assert await browser.run("location.pathname + location.hash") == "/components#component-archive"
    await browser.follow("[...document.links].find(each => each.textContent === 'every 5 s')")
    assert await browser.run("document.querySelector('meta[http-equiv]').content") == "5"


async def test_another_site_gets_nothing(shop: Shop, browser: Browser) -> None:
    """Neither by reading pages nor by sending spans, whatever it tries."""
    page = {"body": "<!doctype html><title>evil</title>", "headers": {"Content-Type": "text/html"}}
    async with RecordingApp({"GET /": page}) as site:
        await browser.go(f"http://127.0.0.1:{site.port}/")
        tries = {
            "read": f"fetch('{shop.url}/')",
            "blind": f"fetch('{shop.url}/', {{mode: 'no-cors'}})",
            "send": (
                f"fetch('http://localhost:{shop.zipkin_port}/api/v2/spans', "
                "{method: 'POST', headers: {'Content-Type': 'application/json'}, "
                f"body: {json.dumps(json.dumps([{'traceId': 'evil', 'id': 'a'}]))}}})"
            ),
        }
        for name, attempt in tries.items():
            said = await browser.run(f"{attempt}.then(() => 'answered', () => 'refused')")
            assert said == "refused", name
        framed = (
            "new Promise(done => { const frame = document.createElement('iframe');"
            f"frame.src = '{shop.url}/'; frame.onload = () => {{ let seen = 'nothing';"
            "try { seen = frame.contentDocument.title } catch { } done(seen) };"
            "document.body.append(frame); })"
        )
        assert await browser.run(framed) == "nothing"
        assert any("frame-ancestors" in each or "X-Frame" in each for each in browser.complaints)
    found = await asyncio.to_thread(shop.dashboard.page, "/traces")
    assert not [link for link in found.links if "evil" in link]
