"""A real browser on a real server.

The server runs in a thread with a trio of its own; `server.call(fn)` runs an async function there, so a test drives the
engine while the browser looks on. Playwright's sync API is used in plain tests: its async one is asyncio's.

Needs the package `playwright` (the extra `browser`) and a Chromium: `GOFLOW_CHROMIUM` names one, else one on the PATH
is taken. Where either is missing, or the dashboard is not built, these tests are skipped with the reason;
`GOFLOW_REQUIRE_BROWSER=1` makes that a failure.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from goflow_trio import Goflow
from goflow_trio.web import pages
from tests.dashboard.jobs import make_jobs

ROOT = Path(__file__).parents[2]
AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def lacking(reason):
    """Skip, or fail where a browser is required."""
    if os.environ.get("GOFLOW_REQUIRE_BROWSER", "") not in {"", "0"}:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


class Server:
    """A server in a thread. It keeps its port over a restart."""

    def __init__(self, jobs=make_jobs, store="memory://", **options):
        self.jobs = jobs
        self.options = options
        self.store = store
        self.port = 0
        self.start()

    def start(self):
        """Serve until `stop`."""
        started = threading.Event()
        self._failure = None

        async def main():
            self.goflow = Goflow(self.store, **self.options)
            for job in self.jobs():
                self.goflow.add_job(job)
            self._token = trio.lowlevel.current_trio_token()
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as self._nursery:

                    async def serve(task_status=trio.TASK_STATUS_IGNORED):
                        await self.goflow.serve(f"127.0.0.1:{self.port}", grace=0, task_status=task_status)

                    (self.url,) = await self._nursery.start(serve)
                    self.port = int(self.url.rpartition(":")[2])
                    started.set()

        def run():
            try:
                trio.run(main)
            except BaseException as error:
                self._failure = error
            finally:
                started.set()

        self._thread = threading.Thread(target=run, name="server")
        self._thread.start()
        assert started.wait(20)
        if self._failure is not None:
            raise self._failure

    @property
    def engine(self):
        return self.goflow._running()

    def call(self, function, *args):
        """Run an async function in the server's trio and return what it returns."""
        return trio.from_thread.run(function, *args, trio_token=self._token)

    def call_sync(self, function, *args):
        """Call a function in the server's trio and return what it returns."""
        return trio.from_thread.run_sync(function, *args, trio_token=self._token)

    def start_soon(self, function):
        """Run an async function beside the server; return an event that is set when it has ended."""
        ended = threading.Event()

        async def run():
            try:
                await function()
            finally:
                ended.set()

        self.call_sync(self._nursery.start_soon, run)
        return ended

    def submit(self, job, params=None):
        """Submit a job; return the execution's id."""
        return self.call(self.engine.submit, job, params).id

    def run(self, job, params=None):
        """Run a job to its end; return its record."""

        async def work():
            return await (await self.engine.submit(job, params)).wait()

        return self.call(work)

    def stop(self):
        """End it, with all that is open."""
        if self._thread.is_alive():
            trio.from_thread.run_sync(self._scope.cancel, trio_token=self._token)
            self._thread.join(20)
            assert not self._thread.is_alive()

    def restart(self):
        """End it and start it anew, on the same port."""
        self.stop()
        self.start()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def furnished():
    """A server in which things have happened; for tests that only look."""
    made = Server()
    for _ in range(3):
        made.run("nightly")
    made.failed = made.run("broken").id
    made.hostile = made.run("<img src=x onerror=alert(1)> & \u202egnp.exe").id
    made.good = made.run("nightly").id
    made.live = made.submit("long")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def browser():
    if not (pages.STATIC / "index.html").is_file():
        lacking("the dashboard is not built: python hatch_build.py")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright is not installed: pip install 'goflow-trio[browser]'")
    path = os.environ.get("GOFLOW_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        lacking("no Chromium on the PATH; name one with GOFLOW_CHROMIUM")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield launched
        launched.close()


class Visit:
    """One browser page, and all that its console said."""

    def __init__(self, browser, url, **options):
        self.url = url
        options.setdefault("viewport", {"width": 1280, "height": 800})
        options.setdefault("timezone_id", "Europe/Berlin")
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(8_000)
        self.console = []
        self.page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.console.append(f"pageerror: {error}"))

    def open(self, path, wait="main h1"):
        """Go to a page and wait until it shows something."""
        self.page.goto(self.url + path)
        self.page.wait_for_selector(wait, state="attached")
        self.page.wait_for_selector(".skeletons", state="detached")
        return self.page

    def violations(self):
        """What axe finds on the page as it stands."""
        if not AXE.is_file():
            lacking("axe-core is not installed: npm ci in dashboard/")
        debugger = self.context.new_cdp_session(self.page)  # the page's policy stays on
        debugger.send("Runtime.evaluate", {"expression": AXE.read_text()})
        told = "found.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 200) + n.failureSummary)])"
        tags = "['wcag2a','wcag2aa','wcag21a','wcag21aa','wcag22aa']"
        asked = {
            "expression": f"axe.run(document, {{runOnly: {tags}}}).then(found => {told})",
            "awaitPromise": True,
            "returnByValue": True,
        }
        return debugger.send("Runtime.evaluate", asked)["result"]["value"]

    def complaints(self):
        """What the console said that no page may make it say."""
        return [
            line
            for line in self.console
            if line.startswith(("error", "pageerror", "warning")) or "Content Security" in line
        ]


@pytest.fixture
def visit(browser, request):
    """Open pages: `visit(server)` returns a `Visit`; its console must stay clean unless the test says otherwise."""
    made = []

    def make(server, **options):
        made.append(Visit(browser, server if isinstance(server, str) else server.url, **options))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
    if request.node.get_closest_marker("noisy") is None:
        assert [line for one in made for line in one.complaints()] == []


def expect(locator: Any) -> Any:
    """Return Playwright's assertions on what is in a page, which wait; imported only where there is Playwright."""
    from playwright.sync_api import expect as playwright_expect  # of the extra `browser`

    return playwright_expect(locator)
