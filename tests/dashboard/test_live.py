"""What happens is seen while it happens, in a real browser: started, cancelled, retried, cut off, restarted."""

from __future__ import annotations

import re

import pytest

from tests.dashboard.conftest import Server
from tests.dashboard.proxy import Proxy


def test_a_page_opened_before_anything_ran_comes_alive_by_itself(server, visit):
    page = visit(server).open("/ui/", "text=nightly")
    assert page.locator("[aria-label='nightly never ran']").count() == 1
    page.wait_for_selector(".state.live")
    server.run("nightly")
    page.wait_for_selector("[aria-label^='last 1 runs of nightly: none failed, latest succeeded']")


def test_run_watch_cancel(server, visit):
    page = visit(server).open("/ui/", "text=nightly")
    page.click("[aria-label='Run long']")
    page.click("text=Watch")
    page.wait_for_selector("text=line 1")
    page.wait_for_selector(".badge:has-text('Running')")
    page.click("button:has-text('Cancel')")
    page.wait_for_selector("text=Ends 1 running task")
    page.click("text=Cancel the run")
    page.wait_for_selector(".badge:has-text('Cancelled')")
    page.wait_for_selector("text=/cancelled in .*: 2 tasks/")


def test_retry_from_failed_runs_in_the_same_page(server, visit):
    failed = server.run("flaky").id
    page = visit(server).open(f"/ui/executions/{failed}", "text=Retry from failed (1 task)")
    page.click("text=Retry from failed")
    page.wait_for_selector(".badge:has-text('Succeeded')")
    assert page.locator(".error").count() == 0
    assert page.url.endswith(failed)


def test_parameters_are_asked_for_by_their_types(server, visit):
    page = visit(server).open("/ui/jobs/nightly", "text=Run with params…")
    page.click("text=Run with params…")
    page.fill("#param-day", "2026-11-24")
    page.fill("#param-limit", "abc")
    page.click("button:has-text('Run with 2 changed')")
    page.wait_for_selector("text=this is no number")
    page.fill("#param-limit", "99")
    page.check("text=dry")
    page.click("button:has-text('Run with 3 changed')")
    page.wait_for_url(re.compile("/ui/executions/"))
    page.wait_for_selector("text=day=2026-11-24")
    page.wait_for_selector("text=dry=true")
    (record,) = server.call(server.engine.newest, "nightly")
    assert dict(record.params) == {"day": "2026-11-24", "limit": 99, "dry": True}


def test_a_schedule_is_paused_and_resumed(server, visit):
    page = visit(server).open("/ui/jobs/nightly", "text=Pause schedule")
    page.click("text=Pause schedule")
    page.wait_for_selector("text=Resume schedule")
    assert not server.engine.is_active("nightly")
    page.click("text=Resume schedule")
    page.wait_for_selector("text=Pause schedule")
    assert server.engine.is_active("nightly")


@pytest.mark.noisy
def test_a_stream_that_drops_is_taken_up_after_the_last_event(server, visit):
    server.run("nightly")
    with Proxy(server.port) as proxy:
        page = visit(proxy.url).open("/ui/events", "text=execution.finished")
        page.wait_for_selector(".state.live")
        before = server.engine.seq
        proxy.cut()
        page.wait_for_selector(".state.reconnecting")
        missed = server.run("flaky")
        proxy.mend()
        page.wait_for_selector(f"text={missed.id[-8:]} >> nth=0")
        told = [int(text) for text in page.locator("td .seq").all_inner_texts()]
        assert sorted(set(told), reverse=True) == list(range(server.engine.seq, 0, -1))
        assert f"after={before}" in [path for path in proxy.asked if "/api/events" in path][-1]


@pytest.mark.noisy
def test_a_restart_is_said_and_the_page_goes_on(tmp_path, browser, visit):
    server = Server(store=f"sqlite:///{tmp_path}/goflow.db")
    try:
        running = server.submit("long")
        page = visit(server).open(f"/ui/executions/{running}", "text=line 1")
        server.restart()
        page.wait_for_selector("text=Server restarted at", timeout=15_000)
        page.wait_for_selector(".state.live")
        page.wait_for_selector(".badge:has-text('Failed')")
        page.wait_for_selector("text=interrupted >> nth=0")
        server.run("nightly")
        page.click(".bar nav >> text=Jobs")
        page.wait_for_selector("[aria-label^='last 1 runs of nightly']")
    finally:
        server.stop()


def test_it_works_below_a_prefix(server, visit):
    server.run("broken")
    with Proxy(server.port, "/deep/goflow") as proxy:
        page = visit(proxy.url).open("/deep/goflow/ui/", "text=broken")
        page.wait_for_selector(".state.live")
        page.click("td.name >> text=broken")
        page.wait_for_selector("text=Runs × tasks")
        page.reload()
        page.click(".mono a")
        page.wait_for_selector("text=server closed the connection unexpectedly")
        assert "/deep/goflow/ui/executions/" in page.url
        page.close()
