"""Budgets of time in a real browser: three times what was measured, more where others use the machine, so that only a
blunder fails.

What takes long to measure is marked `slow`; `python -m tests.dashboard.measure` prints all of it.
"""

from __future__ import annotations

import os

import pytest

from tests.dashboard import measure
from tests.dashboard.conftest import Server
from tests.dashboard.heavy import fill, graphs, many_jobs, one_that_fails, talkers, with_a_steady_one
from tests.dashboard.proxy import Proxy

MEASURED = {
    "first paint": 240,
    "jobs 500 x 50: the server's time": 300,
    "jobs 500 x 50: transfer": 20,
    "jobs 500 x 50: parsed": 1,
    "jobs 500 x 50: from answer to paint": 150,
    "jobs 500 x 50: complete": 850,
    "graph of 1,000: laid out, in a worker": 340,
    "graph of 1,000: drawn": 40,
    "graph of 1,000: frame while panned, far (p95)": 17,
    "graph of 1,000: frame while panned, near (p95)": 17,
    "grid of 1,000 x 50: from answer to paint": 100,
    "grid of 1,000 x 50: frame while scrolled (p95)": 17,
    "log of 50,000 lines: from answer to paint of its end": 100,
    "log of 50,000 lines: all the others, time of the main thread": 200,
    "log of 1,000 lines a second: of a core": 15,
    "jobs without events: of a core": 1,
    "100 events a second, jobs: of a core": 13,
    "100 events a second, graph of 600: of a core": 14,
    "from the red bar to the line of the log": 190,
}
LEAST = {"ms": 50, "%": 5}
"""What is less than this is not worth to be told from noise."""


def check(figures):
    """Times and shares may be three times what was measured; sizes and counts keep to their target."""
    crowding = max(1, os.getloadavg()[0] / os.cpu_count())
    for one in figures:
        timed = one.unit in LEAST
        limit = crowding * max(3 * MEASURED[one.name], LEAST[one.unit]) if timed else one.target
        assert one.value <= limit, f"{one.name}: {one.value:g} {one.unit}, allowed are {limit:g}"


def serving(jobs):
    return pytest.fixture(scope="module")(lambda: (yield from _served(jobs)))


def _served(jobs):
    made = Server(jobs=lambda: list(jobs()))
    yield made
    made.stop()


crowd = serving(many_jobs)
giant = serving(graphs)
chatter = serving(talkers)
broken = serving(one_that_fails)
steady = serving(with_a_steady_one)


def test_500_jobs_of_50_runs_are_there_in_time_with_four_requests_and_stand_still(crowd, browser):
    check(measure.jobs(browser, crowd, times=1))


def test_rows_off_the_screen_are_not_drawn(crowd, visit):
    crowd.call(fill, crowd.engine)
    page = visit(crowd).open("/ui/", "text=job_000")
    assert page.locator("tbody tr").count() < 80
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    page.wait_for_selector("text=job_499")


def test_a_graph_of_1000_tasks_is_drawn_and_moved(giant, browser):
    check(measure.graph(browser, giant, times=1))


def test_tasks_off_the_screen_are_not_drawn(giant, visit):
    page = visit(giant).open("/ui/jobs/large", "[aria-label^='Graph of 1000 tasks'] path")
    for _ in range(12):
        page.click("[aria-label='Zoom in']")
    page.wait_for_selector(".node")
    assert page.locator(".node").count() < 400


def test_a_large_graph_is_laid_out_in_a_worker_also_below_a_prefix(giant, visit):
    with Proxy(giant.port, "/tools/goflow") as proxy:
        at = visit(proxy.url + "/tools/goflow")
        workers = []
        at.page.on("worker", lambda worker: workers.append(worker.url))
        at.open("/ui/jobs/large", "[aria-label^='Graph of 1000 tasks'] path")
        (url,) = workers
        assert url.startswith(proxy.url + "/tools/goflow/ui/assets/layout-")


def test_a_graph_is_laid_out_where_no_worker_can_be_had(giant, visit):
    at = visit(giant)
    at.page.add_init_script("delete window.Worker")
    at.open("/ui/jobs/large", "[aria-label^='Graph of 1000 tasks'] path")


def test_one_click_on_the_red_bar_shows_the_line_of_the_log(broken, browser):
    check(measure.gesture(browser, broken, times=1))


def test_a_log_of_50000_lines_is_all_there(chatter, visit):
    execution = chatter.run("talker").id
    page = visit(chatter).open(f"/ui/executions/{execution}", "text=049999 the quick brown fox")
    has_first = "() => document.querySelector('.log').textContent.includes('000000 the quick')"
    for _ in range(300):
        page.evaluate("() => { document.querySelector('.log').scrollTop = 0; }")
        page.wait_for_timeout(100)
        if page.evaluate(has_first):
            break
    assert page.evaluate(has_first)


@pytest.mark.slow
def test_a_log_is_read_and_followed_in_time(chatter, browser):
    check(measure.log(browser, chatter))


@pytest.mark.slow
def test_a_grid_of_1000_tasks_and_50_runs_is_drawn_and_scrolled_in_time(giant, browser):
    check(measure.grid(browser, giant))


@pytest.mark.slow
def test_a_hundred_events_a_second_leave_the_core_to_others(steady, browser):
    check(measure.events(browser, steady))


@pytest.mark.slow
def test_an_hour_of_events_leaves_nothing_behind(crowd, browser):
    check(measure.heap(browser, crowd, count=60_000))
