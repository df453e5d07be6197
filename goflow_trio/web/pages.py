"""The pages: static files of the dashboard, under a strict content security policy. All they show is the API's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from quart import Blueprint, Response

from goflow_trio.actors.engine import Engine

_PACKAGED = Path(__file__).parent / "dashboard"
_IN_CHECKOUT = Path(__file__).parents[2] / "dashboard"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_HTML = "text/html; charset=utf-8"
_POLICY = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def make_pages(engine: Callable[[], Engine]) -> Blueprint:
    """Return the pages and Goflow's redirects to them."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _IN_CHECKOUT
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in {*_TYPES, ".html"}}
    pages = Blueprint("pages", __name__)

    @pages.get("/")
    async def root() -> Response:
        return Response('<a href="/ui/">Found</a>.\n\n', 302, {"Location": "/ui/"}, content_type=_HTML)

    @pages.get("/ui")
    async def bare() -> Response:
        body = '<a href="/ui/">Moved Permanently</a>.\n\n'
        return Response(body, 301, {"Location": "/ui/"}, content_type=_HTML)

    @pages.get("/ui/")
    async def index() -> Response:
        return Response(files["index.html"], 200, _POLICY, content_type=_HTML)

    @pages.get("/ui/jobs/<job>")
    async def job_page(job: str) -> Response:
        if job not in engine().jobs:
            return Response("Not found", 404, content_type="text/plain; charset=utf-8")
        return Response(files["job.html"], 200, _POLICY, content_type=_HTML)

    @pages.get("/ui/assets/<name>")
    async def asset(name: str) -> Response:
        kind = _TYPES.get(Path(name).suffix)
        if kind is None or name not in files:
            return Response("Not found", 404, content_type="text/plain; charset=utf-8")
        return Response(files[name], 200, _POLICY, content_type=kind)

    return pages
