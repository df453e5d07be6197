"""Conditions that a page is looked at under: a proxy that holds streams back, a server that asks who calls, colours of
the system's own; and that it stands still.
"""

from __future__ import annotations

import pytest

from goflow_trio.web.guard.settings import Security
from tests.dashboard.conftest import Server, expect
from tests.dashboard.measure import Cold
from tests.dashboard.proxy import Proxy
from tests.dashboard.test_pages import PAGES, SHOWS, path_of

TOKEN = "correct-horse-battery-staple-0123456789"
DATA = {
    "jobs": "tbody tr[data-row]",
    "job": ".grid .row",
    "runs": "tbody tr[data-row]",
    "execution": ".tasks tbody tr",
    "graph": ".node",
    "events": "tbody tr",
    "system": "main section h2",
}
"""What is there when a page has its data."""


@pytest.mark.noisy
def test_a_proxy_that_holds_streams_back_makes_the_page_ask(server, visit):
    with Proxy(server.port, holds="/api/events") as proxy:
        at = visit(proxy.url)
        at.page.clock.install()
        page = at.open("/ui/", "text=nightly")
        page.clock.fast_forward(21_000)
        expect(page.locator("header .state")).to_have_text("polling")
        server.run("nightly")
        page.clock.fast_forward(6_000)
        page.wait_for_selector("[aria-label^='last 1 runs of nightly']")
        assert "reconnecting" not in page.inner_text("body")


@pytest.mark.noisy
def test_who_calls_is_asked_in_place_when_a_sign_in_has_run_out(tmp_path, visit):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"operate {TOKEN} alice\n")
    tokens.chmod(0o600)
    server = Server(security=Security(token_file=tokens))
    try:
        at = visit(server)
        at.page.goto(server.url + "/ui/jobs/nightly?tab=definition")
        page = at.page
        page.fill("input[type=password]", TOKEN)
        page.press("input[type=password]", "Enter")
        page.wait_for_selector("text=Missed instants")  # the same address, now with what it shows
        expect(page.locator("header .state")).to_have_text("live")
        assert page.evaluate("() => document.cookie") == "", "scripts cannot read it"
        at.context.clear_cookies()  # as when it has run out
        page.click("nav >> text=Runs")
        page.fill("main input[type=password]", "not this one")
        page.click("main button:has-text('Sign in')")
        page.wait_for_selector("text=This token is not known here.")
        page.fill("main input[type=password]", TOKEN)
        page.press("main input[type=password]", "Enter")
        page.wait_for_selector("text=Nothing has run yet")
        assert page.locator("input[type=password]").count() == 0
    finally:
        server.stop()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_moves_once_the_data_is_there(name, furnished, browser):
    with Cold(browser, furnished.url + path_of(name, furnished), DATA[name]) as cold:
        cold.page.wait_for_selector(SHOWS[name])
        cold.page.wait_for_timeout(700)
        assert cold.shifted() < 1e-4, "more than a digit that came"


VISIBLE = """selector => {
    const canvas = getComputedStyle(document.documentElement).backgroundColor;
    const clear = color => color === canvas || color === 'none' || color === 'rgba(0, 0, 0, 0)';
    return [...document.querySelectorAll(selector)].map(one => {
        const style = getComputedStyle(one);
        const drawn = one instanceof SVGElement ? [style.fill, style.stroke] : [
            style.backgroundColor, ...(parseFloat(style.borderTopWidth) ? [style.borderTopColor] : [])];
        return !drawn.every(clear);
    });
}"""


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("jobs", ".strip path, .mark path"),
        ("job", ".grid path"),
        ("execution", ".rows .bar, .mark path"),
        ("graph", ".node rect, .node .glyph"),
        ("runs", ".bar i"),
    ],
)
def test_shapes_stay_where_the_system_gives_the_colours(name, shapes, furnished, visit):
    page = visit(furnished, forced_colors="active").open(path_of(name, furnished), SHOWS[name])
    page.wait_for_selector(shapes.split(",")[0], state="attached")
    seen = page.evaluate(VISIBLE, shapes)
    assert seen
    assert all(seen), f"{seen.count(False)} of {len(seen)} cannot be seen"
