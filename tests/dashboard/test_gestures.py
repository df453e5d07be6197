"""What is done on the pages beyond looking: searching a log, linking a line, acting on many at once, draining."""

from __future__ import annotations

import re

import pytest

from goflow_trio.core.messages import ScheduleMissed
from goflow_trio.errors import StoreReadOnly
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import WRITES, FaultyBackend
from goflow_trio.web import runs
from tests.dashboard.conftest import Server, expect


def at_line(page):
    """The text of the line that is highlighted, and whether it is in sight."""
    return page.evaluate(
        """() => {
            const line = document.querySelector('.log-at');
            if (!line) return null;
            const box = document.querySelector('.log').getBoundingClientRect();
            const at = line.getBoundingClientRect();
            return [line.textContent.trimEnd(), at.top >= box.top && at.bottom <= box.bottom];
        }"""
    )


def test_a_line_of_a_long_log_is_found_on_the_server_and_has_an_address(server, visit):
    run = server.run("wordy")
    page = visit(server).open(f"/ui/executions/{run.id}", ".log-block")
    assert page.locator(".log").inner_text().count("line 7 ") == 0, "only its end is read"
    page.locator(".log").press("/")
    page.keyboard.type("NEEDLE")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hits:has-text('30 lines')")
    hit = page.locator(".hits button").first
    assert hit.inner_text().split("\n")[-1] == "line 7 <b>needle</b>"
    hit.press("Enter")
    page.wait_for_url("**line=7*")
    page.wait_for_selector(".log-at")
    assert at_line(page) == ["line 7 <b>needle</b>", True]
    address = page.url
    page.keyboard.press("/")
    page.keyboard.type(":29999")
    page.keyboard.press("Enter")
    page.wait_for_url("**line=29999*")
    page.wait_for_selector(".log-at:has-text('line 29999 ')")

    elsewhere = visit(server).open(address.removeprefix(server.url), ".log-block")
    elsewhere.wait_for_selector(".log-at")
    assert at_line(elsewhere) == ["line 7 <b>needle</b>", True]
    line = elsewhere.locator(".log-block > div").nth(8)
    line.click(position={"x": 100, "y": 5})
    assert at_line(elsewhere)[0].startswith("line 7 "), "a click on the text is none on the number"
    line.click(position={"x": 10, "y": 5})
    elsewhere.wait_for_url("**line=9*")
    assert at_line(elsewhere)[0] == "line 9 hay"
    line.click(position={"x": 10, "y": 5})
    elsewhere.wait_for_selector(".log-at", state="detached")
    assert "line=" not in elsewhere.url


def test_lines_on_both_sides_of_what_is_not_kept_are_reached(server, visit):
    run = server.run("wordy", {"lines": 250_000})
    page = visit(server).open(f"/ui/executions/{run.id}?line=1007", ".log-block")
    page.wait_for_selector(".log-at")
    assert at_line(page) == ["line 1007 <b>needle</b>", True]
    page.wait_for_selector(".log-note:has-text('were not kept')", state="attached")
    last = page.locator(".log-block").last.text_content().rstrip().split("\n")[-1]
    assert last == "line 250000 hay"


def test_many_jobs_are_run_paused_and_cancelled_by_keyboard_and_numbers_are_asked_first(server, visit):
    at = visit(server)
    page = at.open("/ui/?filter=l", "[aria-label='Select long']")
    for key in ("j", "x", "j", "j", "Shift+X"):
        page.keyboard.press(key)
    chosen = page.locator("tbody input:checked").count()
    assert chosen == 3
    page.keyboard.press("Escape")
    page.wait_for_selector(".bulk", state="detached")
    for name in ("nightly", "long", "flaky"):
        page.check(f"[aria-label='Select {name}']")
    bulk = page.locator(".bulk")
    page.wait_for_selector(".bulk:has-text('3 jobs selected')")
    bulk.get_by_text("Run 3").click()
    page.wait_for_selector(".bulk:has-text('starts 3 runs now')")
    assert server.call(server.engine.newest) == [], "nothing is done before it is confirmed"
    page.keyboard.press("Enter")  # the confirmation has the focus
    page.wait_for_selector("text=3 run")
    page.wait_for_selector("[aria-label='Watch the run of long']")
    page.check("[aria-label='Select all that are shown']")
    bulk.get_by_text("Pause 1").click()
    page.wait_for_selector("tr:has([aria-label='Select nightly']) >> text=paused")
    page.check("[aria-label='Select long']")
    bulk.get_by_text("Cancel 1 run").click()
    page.wait_for_selector(".bulk:has-text('ends what runs of 1 job')")
    bulk.get_by_text("No").click()
    bulk.get_by_text("Cancel 1 run").click()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 cancelled")
    page.wait_for_selector("[aria-label='Run long']")
    for _ in range(2):
        server.submit("long")
    page.wait_for_selector("[aria-label='Watch the run of long']")
    page.click("[aria-label='More for long']")
    page.click("[role=menuitem]:has-text('Cancel 2 active runs…')")
    page.wait_for_selector(".bulk:has-text('1 job selected') >> text=Cancel 2 runs")


def test_many_runs_are_cancelled_and_tried_again_and_what_is_refused_is_told(server, visit):
    for _ in range(2):
        server.run("broken")
    server.submit("long")
    page = visit(server).open("/ui/runs", "text=server closed the connection")
    for box in page.locator("tbody input").all():
        box.check()
    bulk = page.locator(".bulk")
    bulk.get_by_text("Cancel 1").click()
    page.wait_for_selector(".bulk:has-text('ends 1 run; clean-up still runs')")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 cancelled")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("Shift+X")
    bulk.get_by_text("Retry 2 failed").click()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=2 run again")


def test_groups_close_and_stay_closed(furnished, visit):
    page = visit(furnished).open("/ui/", "text=nightly")
    page.select_option("[aria-label=Groups]", "tag")
    head = page.locator(".fold", has_text="etl")
    assert "2 jobs" in head.inner_text()
    head.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[aria-label='Select nightly']", state="detached")
    page.reload()
    page.wait_for_selector(".fold[aria-expanded=false]")
    assert page.locator("[aria-label='Select nightly']").count() == 0
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("[aria-label='Select nightly']")


def test_a_server_drains_and_every_page_says_so_and_takes_work_again(server, visit):
    server.submit("long")
    page = visit(server).open("/ui/system", "text=Drain…")
    page.get_by_text("Drain…").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 run with 1 running task go on to their end")
    page.get_by_role("button", name="Drain", exact=True).press("Enter")
    page.wait_for_selector(".banner:has-text('Draining: 1 execution with 1 running task left')")
    for key in ("j", "r", "e"):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.wait_for_selector(".banner:has-text('Draining')")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.click("text=Take work again")
    page.wait_for_selector(".banner", state="detached")
    assert server.run("shell").state == "successful"


def test_all_schedules_are_paused_and_the_same_ones_resumed(server, visit):
    page = visit(server).open("/ui/system", "text=Pause all schedules")
    page.click("text=Pause all schedules")
    page.wait_for_selector("text=1 schedule paused")
    assert not server.engine.is_active("nightly")
    page.click("text=Resume these 1")
    page.wait_for_selector("text=1 on again")
    assert server.engine.is_active("nightly")


def test_missed_instants_are_seen_where_they_were_and_marks_tell_how_runs_began(server, visit):
    server.run("nightly")
    page = visit(server).open("/ui/", "[aria-label^='last 1 runs of nightly']")
    page.wait_for_selector(".state.live")

    async def miss():
        now = server.engine.now()
        event = ScheduleMissed(now, "nightly", first=now, last=now, count=3, reason="<b>busy</b>", cause="overlap")
        await server.engine._schedules.record([event])

    server.call(miss)
    strip = page.locator("[aria-label^='last 1 runs of nightly: none failed, 3 instants missed']")
    strip.wait_for()
    assert strip.locator("rect.missed").count() == 1
    server.run("nightly")
    page.wait_for_selector("[aria-label^='last 2 runs of nightly: none failed, 3 instants missed']")
    page.focus("[aria-label^='last 2 runs of nightly']")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(".tip:has-text('3 missed before')")
    page.goto(server.url + "/ui/jobs/nightly")
    grid = page.locator("[role=application][aria-label^='Runs by tasks']")
    grid.focus()
    page.keyboard.press("End")
    page.wait_for_selector(".said:has-text('manual · before it 3 missed: <b>busy</b>')")
    assert grid.locator("rect.missed").count() == 1
    assert grid.locator("path.mark").get_attribute("d")


def test_a_group_is_one_node_until_it_is_opened_and_a_run_shows_its_deadline_and_what_it_waits_for(server, visit):
    run = server.submit("grouped")
    page = visit(server).open(f"/ui/executions/{run}", "text=may take 1m 00s")
    page.wait_for_selector("text=which is its limit, by")
    page.wait_for_selector(".track .deadline", state="detached")
    page.get_by_role("button", name="Graph", exact=True).click()
    graph = page.locator("[role=application][aria-label^='Graph']")
    graph.locator(".node", has_text="load ×2").wait_for()
    graph.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".sr:has-text('load ×2: 1 running · 1 waiting; after start')", state="attached")
    page.keyboard.press("Enter")
    page.wait_for_selector(".node:has-text('load_users')")
    page.click("text=Fold again")
    page.wait_for_selector(".node:has-text('load ×2')")


def test_a_count_of_the_same_errors_leads_to_exactly_those(server, visit):
    first = [server.run("broken").id for _ in range(2)]
    server.run("flaky")
    last = server.run("broken").id
    page = visit(server).open(f"/ui/executions/{last}", "text=2 of the 2 runs before")
    page.click("text=2 of the 2 runs before")
    page.wait_for_selector("h1:has-text('Runs')")
    page.wait_for_selector("tbody tr >> nth=1")
    assert page.locator("tbody tr").count() == 2
    for one in first:
        assert page.locator("tbody", has_text=one[-8:]).count() == 1
    page.click("text=these 2")
    page.wait_for_selector("tbody tr >> nth=3")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_midst_of_a_gesture(theme, furnished, visit):
    at = visit(furnished, color_scheme=theme, reduced_motion="reduce")
    page = at.open("/ui/", "[aria-label='Select nightly']")
    page.select_option("[aria-label=Groups]", "tag")
    page.locator(".fold").first.click()
    page.check("[aria-label='Select wide']")
    page.get_by_text("Run 1", exact=True).click()
    page.wait_for_selector("[aria-label=Confirm]")
    assert at.violations() == []
    page = at.open(f"/ui/executions/{furnished.failed}?task=load&line=2", ".log-block")
    page.fill("[data-filter]", "server")
    page.locator("[data-filter]").press("Enter")
    page.wait_for_selector(".hits button")
    assert at.violations() == []
    page = at.open("/ui/system", "text=Drain…")
    page.click("text=Drain…")
    page.wait_for_selector("text=go on to their end")
    assert at.violations() == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_scrolls_sideways_in_the_midst_of_a_gesture(width, furnished, visit):
    page = visit(furnished, viewport={"width": width, "height": 740}).open("/ui/", "[aria-label='Select nightly']")
    page.select_option("[aria-label=Groups]", "prefix")
    page.check("[aria-label='Select wide']")
    page.check("[aria-label='Select long']")
    page.wait_for_selector(".bulk")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    box = page.locator("[data-filter]").bounding_box()
    assert box["width"] > 100, "there is room to type"
    page.goto(f"{furnished.url}/ui/executions/{furnished.failed}?task=load&line=2")
    page.wait_for_selector(".log-block")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_a_run_that_was_run_again_says_so_and_an_error_can_be_copied(server, visit):
    run = server.run("broken").id
    server.call(lambda: server.engine.retry(run, by="<i>ada</i>", reason="disk was full"))
    at = visit(server)
    at.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = at.open(f"/ui/executions/{run}", "dt:has-text('Run again')")
    page.wait_for_selector("text=3 tasks by <i>ada</i>: disk was full")
    page.wait_for_selector(".badge:has-text('Failed')")
    page.wait_for_selector("link[rel=icon][href*='e0480f']", state="attached")
    page.get_by_role("button", name="Copy", exact=True).first.click()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert "ConnectionError: server closed the connection unexpectedly" in copied
    page = at.open("/ui/runs", "[aria-label=job]")
    page.select_option("[aria-label=job]", "broken")
    page.wait_for_url("**job=broken*")


@pytest.mark.noisy
def test_a_store_that_takes_no_writes_is_told_on_every_page_and_switches_actions_off(browser, visit):
    backend = FaultyBackend(MemoryBackend())
    server = Server(store=backend)
    try:
        page = visit(server).open("/ui/", "[aria-label='Run nightly']")
        with backend.failing(operations=WRITES, error=StoreReadOnly("the <disk> is read-only")):
            page.click("[aria-label='Run nightly']")  # the first write that fails tells
            page.wait_for_selector("text=POST jobs/nightly/submit")
            page.wait_for_selector(".banner.bad:has-text('The store takes no writes')", timeout=15_000)
            button = page.locator("[aria-label='Run nightly']")
            assert button.get_attribute("aria-disabled") == "true"
            assert "the <disk> is read-only" in button.get_attribute("title")
            for key, says in (("r", "Runs"), ("e", "Events"), ("s", "System")):
                page.keyboard.press("g")
                page.keyboard.press(key)
                page.wait_for_selector(f"h1:has-text('{says}')")
                assert page.locator(".banner.bad").count() == 1
            assert page.locator("text=Drain…").get_attribute("aria-disabled") == "true"
        page.wait_for_selector(".banner.bad", state="detached", timeout=15_000)
    finally:
        server.stop()


def test_runs_beyond_those_looked_at_are_looked_for_further_back(server, visit, monkeypatch):
    monkeypatch.setattr(runs, "SCANNED", 3)
    old = server.run("broken").id
    for _ in range(4):
        server.run("shell")
    page = visit(server).open("/ui/runs?state=failed", "text=No run matches among the newest 3")
    page.get_by_text("Look further back").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"tbody tr:has-text('{old[-8:]}')")
    page.wait_for_selector("text=1 run · newest first")
    assert page.locator(".chip:has-text('Succeeded') b").inner_text() == "4"


def test_tasks_tell_how_long_they_waited_and_how_they_compare(server, visit):
    for _ in range(2):
        run = server.run("shell").id
    page = visit(server).open(f"/ui/executions/{run}", "th:has-text('vs median')")
    wait, compared = page.locator("tr:has-text('echo') td").nth(4), page.locator("tr:has-text('echo') td").nth(5)
    assert re.fullmatch(r"[\d.]+m?s", wait.inner_text())
    assert re.fullmatch(r"[+−]\d+ %", compared.inner_text())
    page = visit(server).open(f"/ui/executions/{server.run('broken').id}", "th:has-text('vs median')")
    assert page.locator("tr:has-text('load') td").nth(5).inner_text() == "–", "it never was good"


BESIDE = """line => {
    const beside = getComputedStyle(line, '::before');
    return [/\\d\\d:\\d\\d:\\d\\d|data-time/.test(beside.content), beside.borderRightWidth];
}"""
"""Whether its time stands beside a line, and how thick the bar of standard error is."""


def test_lines_tell_their_stream_always_and_their_time_when_asked_and_go_on_telling(server, visit):
    at = visit(server)
    page = at.open(f"/ui/executions/{server.run('shell').id}", ".log-block")
    out, err = (page.locator(".log-block > div", has_text=text) for text in ("to stdout", "to stderr"))
    assert (out.evaluate(BESIDE), err.evaluate(BESIDE)) == ([False, "0px"], [False, "2px"])
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    assert "stderr: " in [node["name"]["value"] for node in tree if "name" in node], "for those who hear it"
    page.get_by_role("button", name="Time", exact=True).click()
    assert (out.evaluate(BESIDE), err.evaluate(BESIDE)) == ([True, "0px"], [True, "2px"])
    assert re.fullmatch(r"\d\d:\d\d:\d\d", out.get_attribute("data-time"))
    assert at.violations() == []
    page = at.open(f"/ui/executions/{server.submit('long')}", ".log-block >> text=line 3")  # remembered; and live
    assert page.locator(".log-block > div").nth(3).evaluate(BESIDE) == [True, "0px"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d", page.locator(".log-block > div").nth(3).get_attribute("data-time"))


def test_a_line_that_wraps_stays_beside_its_number_and_its_time_and_is_copied_as_it_was(furnished, visit):
    at = visit(furnished, viewport={"width": 360, "height": 740})
    page = at.open(f"/ui/executions/{furnished.hostile}?task=%3Cb%3Ebold%3C%2Fb%3E", ".log-block")
    sideways = "log => log.scrollWidth > log.clientWidth"
    assert page.locator(".log").evaluate(sideways), "it is reached by scrolling"
    page.get_by_role("button", name="Wrap", exact=True).click()
    page.get_by_role("button", name="Time", exact=True).click()
    assert not page.locator(".log").evaluate(sideways)
    long = page.locator(".log-block > div", has_text="long xxx")
    assert long.evaluate(BESIDE) == [True, "0px"]
    lefts = long.evaluate(
        """line => {
            const text = document.createRange();
            text.selectNode(line.firstChild);
            const rows = Map.groupBy([...text.getClientRects()], one => one.top).values();
            return [...rows].map(row => row[0].left - line.getBoundingClientRect().left);
        }"""
    )
    assert len(lefts) > 5
    assert min(lefts) == max(lefts) > 100, "all of it, right of the time"
    copied = page.evaluate(
        """() => { getSelection().selectAllChildren(document.querySelector('.log-block'));
            return [String(getSelection()), document.querySelector('.log-block').textContent]; }"""
    )
    assert copied[0].strip().splitlines() == copied[1].strip().splitlines()
    assert {rule for rule, _ in at.violations()} <= {"color-contrast"}, "of the orange that the task itself chose"


def test_a_log_stays_where_it_is_when_its_lines_wrap_or_no_longer_do(server, visit):
    run = server.run("wordy", {"lines": 1500, "more": " and on" * 60})
    page = visit(server).open(f"/ui/executions/{run.id}?task=speak&line=700", ".log-at")
    wrap = page.get_by_role("button", name="Wrap", exact=True)
    for _ in range(2):
        wrap.click()
        page.wait_for_function(
            """() => {
                const [box, line] = ['.log', '.log-at'].map(one => document.querySelector(one).getBoundingClientRect());
                return line.top >= box.top && line.bottom <= box.bottom;
            }"""
        )
    page.keyboard.press("l")
    at_end = "() => { const log = document.querySelector('.log');"
    at_end += " return log.scrollHeight - log.clientHeight - log.scrollTop < 2; }"
    page.wait_for_function(at_end)
    wrap.click()
    page.wait_for_function(at_end)
    page.reload()
    page.wait_for_selector(".log-at")
    page.keyboard.press("l")
    page.wait_for_function(at_end)


def test_runs_are_chosen_by_tag(furnished, visit):
    page = visit(furnished).open("/ui/runs", "[aria-label=tag]")
    other = page.locator("tbody tr", has_text="gnp.exe")
    expect(other).to_have_count(1)
    page.select_option("[aria-label=tag]", "etl")
    page.wait_for_url("**tag=etl*")
    expect(other).to_have_count(0)
    expect(page.locator("[aria-label=tag]")).to_have_value("etl")
    page.select_option("[aria-label=tag]", "")
    expect(other).to_have_count(1)


@pytest.mark.noisy
def test_a_job_that_is_not_there_names_those_that_are_near(furnished, visit):
    page = visit(furnished).open("/ui/", "text=nightly")
    page.evaluate(
        "() => { const a = document.createElement('a'); a.href = 'jobs/nigthly'; document.body.append(a); a.click(); }"
    )
    page.wait_for_selector("text=did you mean 'nightly'?")
    answer = page.goto(furnished.url + "/ui/jobs/nigthly")  # by its address, which no page has looked at
    assert answer.status == 404
    page.wait_for_selector("text=did you mean 'nightly'?")
    page.click("text=All jobs")
    page.wait_for_selector("text=nightly")


def test_a_graph_is_coloured_by_how_long_its_tasks_take(furnished, visit):
    at = visit(furnished)
    page = at.open("/ui/jobs/broken", "[aria-label='Coloured by']")
    fills = "nodes => nodes.map(node => node.querySelector('rect:last-of-type').style.fill)"
    assert page.locator("g.node").evaluate_all(fills) == [""] * 4
    page.select_option("[aria-label='Coloured by']", "median")
    page.wait_for_url("**color=median*")
    found = page.locator("g.node").evaluate_all(fills)
    assert sum(" 22%" in fill for fill in found) == 1, "the slowest"
    assert sum(" 0%" in fill for fill in found) >= 1, "those that never were good"
    assert at.violations() == []
    for _ in range(5):
        page.click("[aria-label='Zoom out']")
    expect(page.locator("g.node")).to_have_count(0)
    far = page.locator("[aria-label^=Graph] path:not(.edge)")
    found = far.evaluate_all("nodes => nodes.map(node => node.style.fill)")
    assert any(" 100%" in fill for fill in found), "the slowest, far away too"
    assert any(" 20%" in fill for fill in found)
    page.select_option("[aria-label='Coloured by']", "last run")
    page.wait_for_url(lambda url: "color" not in url)
    expect(page.locator("[aria-label^=Graph] path[style*='--failed']")).to_have_count(1)


def test_heads_of_groups_are_low_on_a_phone(furnished, visit):
    page = visit(furnished, viewport={"width": 360, "height": 740}).open("/ui/", "[aria-label=Groups]")
    page.select_option("[aria-label=Groups]", "tag")
    page.wait_for_selector("tr.group")
    assert page.locator("tr.group").first.bounding_box()["height"] <= 28


def test_idle_time_is_folded_on_a_timeline(furnished, visit):
    at = visit(furnished)
    page = at.open(f"/ui/executions/{furnished.failed}", "button:has-text('Fold idle time')")
    share = "node => node.getBoundingClientRect().width / node.parentElement.getBoundingClientRect().width"
    wait = page.locator(".line:has-text('load') .wait")
    assert wait.evaluate(share) > 0.3, "the time between two attempts"
    page.click("text=Fold idle time")
    page.wait_for_selector(".axis >> text=/⋯\\d+ms⋯/")
    assert wait.evaluate(share) < 0.15
    assert page.locator(".line:has-text('load') .bar").count() == 2
    assert at.violations() == []
    page.click("text=Fold idle time")
    assert wait.evaluate(share) > 0.3
