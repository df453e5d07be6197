"""Each page, with data, empty, in error and offline; in both themes for axe; in three widths; by keyboard; hostile."""

from __future__ import annotations

import re

import pytest

from tests.dashboard.conftest import Server
from tests.dashboard.jobs import HOSTILE, HOSTILE_LINES

PAGES = {
    "jobs": "/ui/",
    "job": "/ui/jobs/nightly",
    "runs": "/ui/runs",
    "execution": "/ui/executions/{failed}",
    "graph": "/ui/executions/{failed}?view=graph",
    "events": "/ui/events",
    "system": "/ui/system",
}
SHOWS = {
    "jobs": "text=nightly",
    "job": "text=Runs × tasks",
    "runs": "text=server closed the connection",
    "execution": "text=server closed the connection unexpectedly",
    "graph": "[aria-label^='Graph of 4 tasks']",
    "events": "text=execution.finished",
    "system": "text=What comes next",
}


def path_of(name, server):
    return PAGES[name].format(failed=server.failed)


@pytest.mark.parametrize("name", PAGES)
def test_each_page_shows_its_data(name, furnished, visit):
    page = visit(furnished).open(path_of(name, furnished), SHOWS[name])
    assert page.locator("h1").count() == 1
    page.wait_for_selector(".state.live")
    assert "goflow" in page.title()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/ui/", "No jobs registered"),
        ("/ui/runs", "Nothing has run yet"),
        ("/ui/events", "Quiet"),
        ("/ui/system", "No schedule is on"),
        ("/ui/executions/nope", "no execution has the id"),
        ("/ui/nowhere", "There is no page"),
    ],
)
@pytest.mark.noisy
def test_each_page_says_what_it_is_that_is_empty(path, says, browser, visit):
    server = Server(jobs=list)
    try:
        visit(server).open(path).wait_for_selector(f"text={says}")
    finally:
        server.stop()


def test_a_job_that_never_ran_shows_its_graph_and_what_comes_next(server, visit):
    page = visit(server).open("/ui/jobs/nightly")
    page.wait_for_selector("text=Never ran")
    assert page.locator(".next li").count() == 5
    page.wait_for_selector("[aria-label^='Graph of 3 tasks']")


@pytest.mark.noisy
@pytest.mark.parametrize("name", PAGES)
def test_an_error_says_what_was_asked_and_asks_again(name, furnished, visit):
    at = visit(furnished)
    broken = [True]

    def answer(route):
        if broken[0] and "/api/events" not in route.request.url:
            body = '{"title":"Internal Server Error","status":500,"detail":"the disk is full"}'
            route.fulfill(status=500, content_type="application/problem+json", body=body)
        else:
            route.continue_()

    at.page.route("**/api/**", answer)
    page = at.open(path_of(name, furnished), "[role=alert]")
    assert "the disk is full (500)" in page.inner_text("main [role=alert]")
    broken[0] = False
    page.click("text=Try again")
    page.wait_for_selector(SHOWS[name])


@pytest.mark.noisy
@pytest.mark.parametrize("name", ["jobs", "job", "runs", "events", "system"])
def test_a_lost_server_is_said_and_found_again(name, server, visit):
    server.failed = ""
    server.run("broken")
    at = visit(server)
    at.page.clock.install()
    page = at.open(path_of(name, server), SHOWS[name])
    page.wait_for_selector(".state.live")
    server.stop()
    page.wait_for_selector(".state.reconnecting")
    page.clock.fast_forward(16_000)
    page.wait_for_selector("text=What you see may be old")
    assert page.locator(SHOWS[name]).count(), "what was there stays"
    if name == "jobs":
        assert page.locator("[aria-label='Run nightly']").get_attribute("aria-disabled") == "true"
    server.start()
    page.click("text=Retry >> visible=true")
    page.wait_for_selector(".state.live")
    page.wait_for_selector("text=Server restarted at")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(name, theme, furnished, visit):
    at = visit(furnished, color_scheme=theme, reduced_motion="reduce")
    at.open(path_of(name, furnished), SHOWS[name])
    assert at.violations() == []


@pytest.mark.parametrize("width", [360, 640, 768, 1280])  # 640: 1280 at 200 %
def test_nothing_scrolls_sideways(width, furnished, visit):
    at = visit(furnished, viewport={"width": width, "height": 740})
    too_wide = []
    for name in PAGES:
        page = at.open(path_of(name, furnished), SHOWS[name])
        if page.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(name)
    assert too_wide == []


def test_names_logs_and_results_are_text_whatever_is_in_them(furnished, visit):
    at = visit(furnished)
    dialogs = []
    at.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page = at.open("/ui/", "text=gnp.exe")
    assert page.locator("td.name a", has_text="<img").count() == 1
    page = at.open(f"/ui/executions/{furnished.hostile}?task=%3Cb%3Ebold%3C%2Fb%3E", ".log-block")
    log = page.locator(".log").inner_text()
    assert HOSTILE_LINES[0] in log
    assert "red orange plain" in log
    assert "progress done" in log
    assert "10%" not in log
    assert "\x1b" not in log
    assert page.locator(".log .a-f1", has_text="red").count() == 1
    assert page.locator(".log button", has_text="more characters").count() == 1
    page.click("text=Result")
    page.wait_for_selector("text=<script>alert(1)</script>")
    page.click(".crumbs a >> nth=1")
    page.wait_for_selector("text=<i>not italic</i>")
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.evaluate("() => document.querySelectorAll('main img, main script, main i i').length") == 0
    assert dialogs == []


def test_by_keyboard_alone_a_job_is_run_and_its_error_read(server, visit):
    page = visit(server).open("/ui/", "text=nightly")
    page.keyboard.press("Control+k")
    page.wait_for_selector("[role=combobox]")
    page.keyboard.type("run broken")
    page.wait_for_selector("[role=option][aria-selected=true]:has-text('run broken')")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=server closed the connection unexpectedly")
    page.wait_for_selector(".badge:has-text('Failed')")
    assert page.title().startswith("✕ broken")
    page.wait_for_selector(".log-error")
    page.keyboard.press("[")
    page.wait_for_selector("[aria-label='Attempt 1: Failed'][aria-pressed=true]")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_selector("h1:has-text('Runs')")
    page.wait_for_selector("[data-row='0']")  # the list, which the keys are about
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.wait_for_selector("text=1 run selected")
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_selector("th:has-text('Last 50 runs')")
    page.keyboard.press("/")
    page.keyboard.type("brok")
    page.wait_for_selector("[aria-label^='last 1 runs of broken']")
    page.keyboard.press("Tab")
    page.focus("[aria-label^='last 1 runs of broken']")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/ui/executions/"))
    page.keyboard.press("?")
    page.wait_for_selector("dialog:has-text('Keys')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_a_graph_folds_what_is_alike_and_is_walked_by_arrows(server, visit):
    server.run("wide")
    page = visit(server).open("/ui/jobs/wide", "text=map_* ×20")
    graph = page.locator("[role=application][aria-label^='Graph']")
    graph.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".sr:has-text('map_* ×20: 20 ok; after start')", state="attached")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Fold again")
    page.keyboard.press("f")
    assert page.locator(".node").count() == 22


def test_the_theme_the_zone_and_the_filter_are_remembered_where_they_belong(furnished, visit):
    at = visit(furnished)
    page = at.open("/ui/", "text=nightly")
    page.fill("[data-filter]", "etl")
    page.wait_for_url("**/ui/?filter=etl")
    assert page.locator("tbody tr").count() == 2
    page.locator("[data-filter]").blur()
    page.click("[aria-label^='Theme']")
    page.click("[aria-label^='Theme']")
    page.click(".zone")
    page.click(".zone")
    page.reload()
    page.wait_for_selector("text=UTC")
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    assert page.locator("tbody tr").count() == 2
