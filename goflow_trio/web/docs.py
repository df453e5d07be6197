"""The description of the API, and a page that shows it: three small files of ours, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quart import current_app

from goflow_trio.web.openapi import describe
from goflow_trio.web.routes import Answer, Routes

routes = Routes("description")

_FOLDER = Path(__file__).parent / "apidocs"
_POLICY = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
}


def document() -> dict[str, Any]:
    """Return the description of the running app's API."""
    extensions = current_app.extensions
    if "goflow_trio.openapi" not in extensions:
        extensions["goflow_trio.openapi"] = describe(extensions["goflow_trio.routes"])
    found: dict[str, Any] = extensions["goflow_trio.openapi"]
    return found


@routes.get("/api/openapi.json")
async def openapi() -> dict[str, Any]:
    """This description, in OpenAPI 3.1."""
    return document()


def _file(name: str) -> Answer:
    return Answer((_FOLDER / name).read_text(), headers=_POLICY)


@routes.get("/api/docs", content_type="text/html")
async def docs_page() -> Answer | str:
    """A page that shows this description; it needs no network but this server."""
    return _file("docs.html")


@routes.get("/api/docs/docs.js", content_type="text/javascript")
async def docs_script() -> Answer | str:
    """The script of that page."""
    return _file("docs.js")


@routes.get("/api/docs/docs.css", content_type="text/css")
async def docs_style() -> Answer | str:
    """The style of that page."""
    return _file("docs.css")
