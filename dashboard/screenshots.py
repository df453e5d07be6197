"""Renders each page in both themes and three widths to PNG files, on a server with weeks of history. Look at every one.

    python dashboard/screenshots.py FOLDER [PAGE …]

Needs what the browser tests need (tests/dashboard/conftest.py).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import sync_playwright

from goflow_trio.examples import EXAMPLE_JOBS
from tests.dashboard.conftest import FLAGS, NAMES, Server
from tests.dashboard.demo import demo_jobs, filled

PAGES = {
    "jobs": "/ui/",
    "job": "/ui/jobs/nightly_etl",
    "execution": "/ui/executions/{failed}",
    "graph": "/ui/executions/{failed}?view=graph",
    "running": "/ui/executions/{running}",
    "runs": "/ui/runs",
    "failed-runs": "/ui/runs?state=failed",
    "events": "/ui/events",
    "system": "/ui/system",
    "never-ran": "/ui/jobs/example-complex-analytics",
    "gone": "/ui/executions/gone",
}
GESTURES = {
    "jobs-chosen": (
        "/ui/",
        [
            lambda page: page.select_option("[aria-label=Groups]", "tag"),
            lambda page: page.check("[aria-label='Select sync_crm']"),
            lambda page: page.check("[aria-label='Select sitemap']"),
            lambda page: page.get_by_text("Run 2", exact=True).click(),
        ],
    ),
    "log-search": (
        "/ui/executions/{failed}?task=load_orders&line=6",
        [
            lambda page: page.fill("[data-filter]", "copy"),
            lambda page: page.locator("[data-filter]").press("Enter"),
        ],
    ),
    "drain": ("/ui/system", [lambda page: page.get_by_text("Drain…").click()]),
}
THEMES = ("light", "dark")
WIDTHS = {360: 740, 768: 900, 1280: 800}
SETTLE_MS = 900


def main(folder: Path, wanted: list[str]) -> None:
    """Render the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(lambda: [*demo_jobs(), *(make() for make in EXAMPLE_JOBS)], filled())
    path = os.environ.get("GOFLOW_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)))
    try:
        records = server.call(server.engine.newest, "nightly_etl", "failed", 1)
        running = server.submit("nightly_etl", {"date": "2026-11-24"})
        server.submit("backup_s3")
        time.sleep(2)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
            for theme in THEMES:
                for width, height in WIDTHS.items():
                    page = browser.new_context(
                        viewport={"width": width, "height": height}, color_scheme=theme, timezone_id="Europe/Berlin"
                    ).new_page()
                    for name in wanted or [*PAGES, *GESTURES]:
                        path, steps = GESTURES.get(name) or (PAGES[name], [])
                        page.goto(server.url + path.format(failed=records[0].id, running=running))
                        page.wait_for_timeout(SETTLE_MS)
                        for step in steps:
                            step(page)
                            page.wait_for_timeout(SETTLE_MS / 3)
                        page.screenshot(path=folder / f"{name}-{theme}-{width}.png")
                    page.context.close()
            browser.close()
    finally:
        server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=", ".join(PAGES))
    chosen = parser.parse_args()
    main(chosen.folder, chosen.pages)
