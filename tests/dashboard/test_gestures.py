"""What is done on the pages beyond looking: searching a log, linking a line, acting on many at once, draining."""

from __future__ import annotations


def at_line(page):
    """The text of the line that is highlighted, and whether it is in sight."""
    return page.evaluate(
        """() => {
            const [range] = CSS.highlights.get('log-line') ?? [];
            if (!range) return null;
            const box = document.querySelector('.log').getBoundingClientRect();
            const at = range.getBoundingClientRect();
            return [range.toString(), at.top >= box.top && at.bottom <= box.bottom];
        }"""
    )


def test_a_line_of_a_long_log_is_found_on_the_server_and_has_an_address(server, visit):
    run = server.run("wordy")
    page = visit(server).open(f"/ui/executions/{run.id}", ".log-text")
    assert page.locator(".log").inner_text().count("line 7 ") == 0, "only its end is read"
    page.locator(".log").press("/")
    page.keyboard.type("NEEDLE")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hits:has-text('30 lines')")
    hit = page.locator(".hits button").first
    assert hit.inner_text().split("\n")[-1] == "line 7 <b>needle</b>"
    hit.press("Enter")
    page.wait_for_url("**line=7*")
    page.wait_for_function("() => CSS.highlights.has('log-line')")
    assert at_line(page) == ["line 7 <b>needle</b>", True]
    address = page.url
    page.keyboard.press("/")
    page.keyboard.type(":29999")
    page.keyboard.press("Enter")
    page.wait_for_url("**line=29999*")
    page.wait_for_function("() => String([...CSS.highlights.get('log-line')][0]).startsWith('line 29999 ')")

    elsewhere = visit(server).open(address.removeprefix(server.url), ".log-text")
    elsewhere.wait_for_function("() => CSS.highlights.has('log-line')")
    assert at_line(elsewhere) == ["line 7 <b>needle</b>", True]
    numbers = elsewhere.locator(".log-numbers").first
    numbers.click(position={"x": 10, "y": 19 * 8 + 5})
    elsewhere.wait_for_url("**line=9*")
    assert at_line(elsewhere)[0] == "line 9 hay"
    numbers.click(position={"x": 10, "y": 19 * 8 + 5})
    elsewhere.wait_for_function("() => !CSS.highlights.has('log-line')")
    assert "line=" not in elsewhere.url


def test_lines_on_both_sides_of_what_is_not_kept_are_reached(server, visit):
    run = server.run("wordy", {"lines": 250_000})
    page = visit(server).open(f"/ui/executions/{run.id}?line=1007", ".log-text")
    page.wait_for_function("() => CSS.highlights.has('log-line')")
    assert at_line(page) == ["line 1007 <b>needle</b>", True]
    page.wait_for_selector(".log-note:has-text('were not kept')", state="attached")
    last = page.locator(".log-text").last.text_content().rstrip().split("\n")[-1]
    assert last == "line 250000 hay"
