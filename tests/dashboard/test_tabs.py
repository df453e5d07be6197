"""Many tabs of one browser: they share six connections to the server, and none is kept waiting."""

from __future__ import annotations

from tests.dashboard.conftest import expect


def state_of(page):
    return page.locator("header .chip.state")


def test_seven_tabs_answer_and_stay_up_to_date(server, visit):
    first = visit(server)
    pages = [first.open("/ui/")]
    for _ in range(6):
        page = first.context.new_page()
        page.set_default_timeout(8_000)
        page.goto(server.url + "/ui/jobs/nightly")
        page.wait_for_selector("main h1")
        pages.append(page)
    for page in pages[3:]:
        expect(state_of(page)).to_have_text("live")
    for page in pages[:3]:
        expect(state_of(page)).to_have_text("polling")
    server.run("nightly")
    for page in (pages[1], pages[6]):  # one is told, one asks every five seconds
        row = page.locator("tbody tr [title^=Succeeded], tbody tr .mark.successful").first
        expect(row).to_be_visible(timeout=15_000)
    pages[0].bring_to_front()
    pages[0].click("main a >> text=nightly")  # to use a tab is to have its stream
    expect(pages[0].locator("h1")).to_have_text("nightly")
    expect(state_of(pages[0])).to_have_text("live")
    expect(state_of(pages[3])).to_have_text("polling")
