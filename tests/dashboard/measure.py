"""Measures what the dashboard's budgets are about, in a real browser on a real server.

    python -m tests.dashboard.measure [NAME …]        # prints each figure beside its target; takes some minutes
    python -m tests.dashboard.measure heap --events 360000

Times are medians of cold pages, on loopback, with software rendering; shares of a core are the time that the page's
main thread worked by the time that passed: time of the processor, which others who use the machine do not change.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from contextlib import contextmanager

import trio
from attrs import frozen

from tests.dashboard.conftest import FLAGS, NAMES, Server
from tests.dashboard.heavy import fill, graphs, many_jobs, one_that_fails, talkers, with_a_steady_one

WATCH = """wanted => {
    window.shifts = [];
    const noted = entry => [entry.startTime, entry.hadRecentInput ? 0 : entry.value];
    new PerformanceObserver(list => window.shifts.push(...list.getEntries().map(noted)))
        .observe({ type: 'layout-shift', buffered: true });
    const seen = new MutationObserver(() => {
        if (!document.querySelector(wanted)) return;
        seen.disconnect();
        requestAnimationFrame(() => setTimeout(() => (window.thereAt = performance.now())));
    });
    seen.observe(document, { subtree: true, childList: true, attributes: true });
    window.workers = [];
    if (window.Worker) window.Worker = class extends Worker {
        postMessage(message) {
            const begun = performance.now();
            this.addEventListener('message', () => {
                const laid = performance.now();
                requestAnimationFrame(() => setTimeout(() =>
                    window.workers.push([laid - begun, performance.now() - laid])));
            });
            super.postMessage(message);
        }
    };
}"""
"""Runs before the page's own script: notes when what is wanted is painted, what moved, how long a worker took."""

PANNED = """() => new Promise(done => {
    const view = document.querySelector('[role=application][aria-label^=Graph]');
    const box = view.getBoundingClientRect();
    const at = (type, x, y) => view.dispatchEvent(new PointerEvent(type, {
        bubbles: true, clientX: box.left + x, clientY: box.top + y, button: 0, pointerId: 1, isPrimary: true }));
    view.setPointerCapture = () => {};
    at('pointerdown', 300, 100);
    const gaps = [];
    let last = performance.now();
    let step = 0;
    const frame = now => {
        gaps.push(now - last);
        last = now;
        at('pointermove', 300 + 120 * Math.sin(step / 9), 100 + 60 * Math.cos(step / 11));
        if (++step < 120) requestAnimationFrame(frame);
        else { at('pointerup', 300, 100); done(gaps.slice(2)); }
    };
    requestAnimationFrame(frame);
})"""

SCROLLED = """selector => new Promise(done => {
    const box = document.querySelector(selector);
    const gaps = [];
    let last = performance.now();
    let step = 0;
    const frame = now => {
        gaps.push(now - last);
        last = now;
        box.scrollTop += 60;
        if (++step < 120) requestAnimationFrame(frame);
        else done(gaps.slice(2));
    };
    requestAnimationFrame(frame);
})"""


@frozen
class Figure:
    """What was measured, and what is asked."""

    name: str
    value: float
    target: float
    unit: str


class Cold:
    """A page of a browser that has seen nothing yet; it notes when `wanted` is painted."""

    def __init__(self, browser, url, wanted):
        self.context = browser.new_context(viewport={"width": 1400, "height": 900})
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.add_init_script(f"({WATCH})({wanted!r})")
        self.session = self.context.new_cdp_session(self.page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.asked = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)
        self.page.wait_for_selector(wanted, state="attached")
        self.there = self.page.evaluate(
            """() => new Promise(done => {
                const look = () => window.thereAt ? done(window.thereAt) : setTimeout(look, 5);
                look();
            })"""
        )

    def metrics(self):
        return {one["name"]: one["value"] for one in self.session.send("Performance.getMetrics")["metrics"]}

    def heap(self):
        """Return the bytes that are left when nothing is left to collect."""
        self.session.send("HeapProfiler.collectGarbage")
        return self.metrics()["JSHeapUsedSize"]

    def asking(self, part):
        """Return when an answer was asked for, began and ended, by a part of its address."""
        return self.page.evaluate(
            """part => { const one = performance.getEntriesByType('resource').find(one => one.name.includes(part));
            return [one.requestStart, one.responseStart, one.responseEnd]; }""",
            part,
        )

    def shifted(self):
        """Return how much moved by itself since the data was there (CLS)."""
        return self.page.evaluate(
            "() => window.shifts.filter(([at]) => at > window.thereAt).reduce((sum, [, by]) => sum + by, 0)"
        )

    def busy(self, seconds):
        """Return the share of a core that the page takes."""
        before, begun = self.metrics()["TaskDuration"], time.monotonic()
        self.page.wait_for_timeout(seconds * 1000)
        return (self.metrics()["TaskDuration"] - before) / (time.monotonic() - begun)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.context.close()


def p95(values):
    return sorted(values)[int(len(values) * 0.95)]


def middle(measure, times=3):
    """Return the medians of some measurements, each of which gives several values."""
    return [statistics.median(values) for values in zip(*(measure() for _ in range(times)), strict=True)]


@contextmanager
def serving(jobs):
    server = Server(jobs=lambda: list(jobs()))
    try:
        yield server
    finally:
        server.stop()


def jobs(browser, crowd, times=3):
    """500 jobs with 50 runs each."""
    crowd.call(fill, crowd.engine)

    def once():
        with Cold(browser, crowd.url + "/ui/", "tbody tr[data-row]") as cold:
            asked, began, ended = cold.asking("/api/overview")
            size = cold.page.evaluate(
                """async () => { const text = await (await fetch('../api/overview')).text();
                const begun = performance.now(); JSON.parse(text); return [text.length, performance.now() - begun]; }"""
            )
            paint = cold.page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
            before = 1 + next(place for place, url in enumerate(cold.asked) if "/api/overview" in url)
            cold.page.wait_for_timeout(1500)
            return paint, began - asked, ended - began, *size, cold.there - ended, cold.there, before, cold.shifted()

    paint, server, transfer, size, parse, drawn, all_, requests, shifted = middle(once, times)
    yield Figure("first paint", paint, 1000, "ms")
    yield Figure("jobs 500 x 50: the server's time", server, 300, "ms")
    yield Figure("jobs 500 x 50: transfer", transfer, 100, "ms")
    yield Figure("jobs 500 x 50: the overview", size / 1000, 200, "kB")
    yield Figure("jobs 500 x 50: parsed", parse, 50, "ms")
    yield Figure("jobs 500 x 50: from answer to paint", drawn, 500, "ms")
    yield Figure("jobs 500 x 50: complete", all_, 1000, "ms")
    yield Figure("requests up to the first data", requests, 4, "")
    yield Figure("layout shift after the first data", shifted, 0, "")


def graph(browser, giant, times=3):
    """A graph of 1,000 tasks."""

    def once():
        with Cold(browser, giant.url + "/ui/jobs/large", "[aria-label^='Graph of 1000 tasks'] path") as cold:
            page = cold.page
            page.wait_for_timeout(300)
            ((laid, drawn), *_) = page.evaluate("() => window.workers")
            far = page.evaluate(PANNED)
            page.click("[aria-label='Fit the graph']")
            for _ in range(12):
                page.click("[aria-label='Zoom in']")
            page.wait_for_selector(".node")
            return laid, drawn, p95(far), p95(page.evaluate(PANNED)), cold.shifted()

    laid, drawn, far, near, shifted = middle(once, times)
    yield Figure("graph of 1,000: laid out, in a worker", laid, 400, "ms")
    yield Figure("graph of 1,000: drawn", drawn, 200, "ms")
    yield Figure("graph of 1,000: frame while panned, far (p95)", far, 20, "ms")
    yield Figure("graph of 1,000: frame while panned, near (p95)", near, 20, "ms")
    yield Figure("graph of 1,000: layout shift", shifted, 0, "")


def grid(browser, giant, times=3):
    """A grid of 50 runs by 1,000 tasks. One run is real; the answer is made of fifty like it."""
    giant.run("large")

    def fifty(route):
        answer = route.fetch()
        body = answer.json()
        (run,) = body["runs"][-1:]
        body["runs"] = [
            {**run, "id": f"0193632f-9a5b-7000-8000-{n:012}", "cells": "sfks"[n % 4] + run["cells"][1:]}
            for n in range(50)
        ]
        route.fulfill(response=answer, json=body)

    def once():
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        page = context.new_page()
        page.add_init_script(f"({WATCH})('.grid .row')")
        page.route("**/grid?*", fifty)
        page.goto(giant.url + "/ui/jobs/large")
        page.wait_for_selector(".grid .row")
        page.wait_for_timeout(1500)
        drawn = page.evaluate(
            """() => window.thereAt
                - performance.getEntriesByType('resource').find(one => one.name.includes('/grid')).responseEnd"""
        )
        frames = page.evaluate(SCROLLED, ".grid")
        context.close()
        return drawn, p95(frames)

    drawn, frames = middle(once, times)
    yield Figure("grid of 1,000 x 50: from answer to paint", drawn, 150, "ms")
    yield Figure("grid of 1,000 x 50: frame while scrolled (p95)", frames, 20, "ms")


def log(browser, chatter, times=3):
    """A log of 50,000 lines, and one that grows by 1,000 lines a second."""
    execution = chatter.run("talker").id

    def once():
        with Cold(browser, f"{chatter.url}/ui/executions/{execution}", ".log-block") as cold:
            _, _, ended = cold.asking("/log")
            page, before = cold.page, cold.metrics()["TaskDuration"]
            while not page.evaluate("() => document.querySelector('.log').textContent.includes('000000 the quick')"):
                page.evaluate("() => { document.querySelector('.log').scrollTop = 0; }")
                page.wait_for_timeout(100)
            page.wait_for_timeout(200)
            return cold.there - ended, (cold.metrics()["TaskDuration"] - before) * 1000

    shown, rest = middle(once, times)
    yield Figure("log of 50,000 lines: from answer to paint of its end", shown, 400, "ms")
    yield Figure("log of 50,000 lines: all the others, time of the main thread", rest, 400, "ms")
    execution = chatter.submit("chatter", {"seconds": 11})
    with Cold(browser, f"{chatter.url}/ui/executions/{execution}", ".log-block") as cold:
        cold.page.wait_for_timeout(1500)
        yield Figure("log of 1,000 lines a second: of a core", 100 * cold.busy(6), 35, "%")


@contextmanager
def running(server, names, a_second):
    """Submit jobs in turn, so many a second, from within the server."""
    stop = trio.Event()

    async def work():
        begun, number = trio.current_time(), 0
        while not stop.is_set():
            await server.engine.submit(names[number % len(names)])
            number += 1
            await trio.sleep_until(begun + number / a_second)

    done = server.start_soon(work)
    try:
        yield
    finally:
        server.call_sync(stop.set)
        done.wait(20)


def events(browser, crowd, seconds=8):
    """A hundred events a second on the page of 500 jobs: twenty runs, of five events each."""
    crowd.call(fill, crowd.engine)
    with Cold(browser, crowd.url + "/ui/", "tbody tr[data-row]") as cold:
        cold.page.wait_for_timeout(1500)
        idle = cold.busy(2)
        with running(crowd, list(crowd.engine.jobs), 20):
            busy = cold.busy(seconds)
        yield Figure("jobs without events: of a core", 100 * idle, 10, "%")
        yield Figure("100 events a second, jobs: of a core", 100 * busy, 40, "%")
    execution = crowd.submit("steady")
    page = f"{crowd.url}/ui/executions/{execution}?view=graph"
    with Cold(browser, page, "[aria-label^='Graph of 600'] path") as cold:
        cold.page.wait_for_timeout(1000)
        before, begun = crowd.engine.seq, time.monotonic()
        busy = cold.busy(6)
        rate = (crowd.engine.seq - before) / (time.monotonic() - begun)
    yield Figure("100 events a second, graph of 600: of a core", 100 * busy * 100 / rate, 40, "%")


def gesture(browser, broken, times=3):
    """From a click on the red bar of a failed run to the line of its log."""
    broken.run("fails")

    def once():
        with Cold(browser, broken.url + "/ui/", "tbody tr[data-row] .strip") as cold:
            page = cold.page
            page.wait_for_timeout(2500)  # as long as it takes to see it; the other pages are loaded meanwhile
            page.evaluate(
                """() => addEventListener('click', () => {
                    const begun = performance.now();
                    const look = () => {
                        const line = document.querySelector('.log-error');
                        if (line && line.getBoundingClientRect().height)
                            setTimeout(() => (window.took = performance.now() - begun));
                        else requestAnimationFrame(look);
                    };
                    look();
                }, { capture: true, once: true })"""
            )
            box = page.locator(".strip svg").first.bounding_box()
            page.mouse.click(box["x"] + box["width"] - 3, box["y"] + 10)
            page.wait_for_selector(".log-error")
            page.wait_for_timeout(100)
            return (page.evaluate("() => window.took"),)

    (took,) = middle(once, times)
    yield Figure("from the red bar to the line of the log", took, 300, "ms")


def heap(browser, crowd, count=360_000, a_second=2_000):
    """As many events as a hundred a second make in an hour, told faster."""
    crowd.call(fill, crowd.engine)
    with Cold(browser, crowd.url + "/ui/", "tbody tr[data-row]") as cold:
        cold.page.wait_for_timeout(2000)
        begun, samples = crowd.engine.seq, [cold.heap()]
        with running(crowd, list(crowd.engine.jobs), a_second / 5):
            while (told := crowd.engine.seq - begun) < count:
                cold.page.wait_for_timeout(3000)
                samples.append(cold.heap())
                sys.stderr.write(f"{told} events, {samples[-1] / 1e6:.1f} MB\n")
        cold.page.wait_for_timeout(2000)
        samples.append(cold.heap())
    third = len(samples) // 3
    early, late = statistics.median(samples[third : 2 * third]), statistics.median(samples[2 * third :])
    yield Figure(f"heap, at most, over {count} events", max(samples) / 1e6, 60, "MB")
    yield Figure("heap, last third by the one before", late / early, 1.1, "")


MEASURES = {
    "jobs": (jobs, many_jobs),
    "graph": (graph, graphs),
    "grid": (grid, graphs),
    "log": (log, talkers),
    "events": (events, with_a_steady_one),
    "gesture": (gesture, one_that_fails),
    "heap": (heap, many_jobs),
}


def main():
    """Measure and print."""
    from playwright.sync_api import sync_playwright  # of the extra `browser`

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--events", type=int, default=360_000, help="how many the heap is measured over")
    chosen = parser.parse_args()
    path = os.environ.get("GOFLOW_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)))
    sys.stdout.write(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        for name in chosen.names or [name for name in MEASURES if name != "heap"]:
            measure, its_jobs = MEASURES[name]
            more = {"count": chosen.events} if name == "heap" else {}
            with serving(its_jobs) as server:
                for one in measure(browser, server, **more):
                    sign = "  " if one.value <= one.target else "> "
                    sys.stdout.write(f"{one.name:<62}{one.value:>9.4g} {sign}{one.target:g} {one.unit}\n")
        browser.close()


if __name__ == "__main__":
    main()
