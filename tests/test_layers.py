"""Imports point down the layer map, in no circle; what decides is pure; each driver is imported in one place only.

A new folder or top-level file must be given its layer here.
"""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "goflow_trio"

LAYERS = [
    ("__init__", "__main__", "cli"),
    ("goflow",),
    ("examples",),
    ("testing",),
    ("web",),
    ("client",),
    ("actors",),
    ("executors",),
    ("operators",),
    ("stores",),
    ("codec",),
    ("core",),
    ("jobs",),
    ("schedules",),
    ("errors",),
]
"""From top to bottom. A part may import itself and what is below it; parts of one row do not know each other."""

MAY_IMPORT_ANYTHING = {"testing", "__init__", "__main__", "cli"}
"""The testing kit drives the whole; the top row is the whole."""

PURE = {"core", "jobs", "schedules", "errors"}
"""What decides: time, ids and randomness are arguments."""

IMPURE_MODULES = {
    "asyncio",
    "logging",
    "msgpack",
    "os",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "trio",
    "uuid",
}

CLOCK_CALLS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}

ONLY_IMPORTER = {"msgpack": "codec.py"}
"""Drivers that one file alone may import, and which."""

ONE_IMPORTER = {"croniter"}
"""Drivers that one file alone may import, whichever it is."""

RANK = {part: rank for rank, row in enumerate(LAYERS) for part in row}

FILES = sorted(ROOT.rglob("*.py"))


def name_of(path):
    """Return the dotted name of a module of ours."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def part_of(module):
    """Return the row entry a dotted name of ours belongs to; the bare package is `__init__`."""
    return ([*module.split("."), "__init__"])[1]


def imported(path):
    """Return every absolute dotted name a file imports, wherever in the file."""
    package = ".".join(path.relative_to(ROOT.parent).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            # `from goflow_trio import core` imports the part, not the bare package.
            submodules = {alias.name for alias in node.names if base == "goflow_trio" and alias.name in RANK}
            names |= {f"{base}.{name}" for name in submodules}
            if len(submodules) < len(node.names):
                names.add(base)
    return names


def imported_modules(path):
    """Return what a file imports; of `from a import b` both `a` and `a.b`, as `b` may be a module."""
    names = set(imported(path))
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def shown(path):
    return str(path.relative_to(ROOT))


def roots(path):
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_every_module_has_a_layer(path):
    assert part_of(name_of(path)) in RANK


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_imports_point_down(path):
    own = part_of(name_of(path))
    if own in MAY_IMPORT_ANYTHING:
        return
    wrong = {
        name
        for name in imported(path)
        if name.split(".")[0] == "goflow_trio" and part_of(name) != own and RANK[part_of(name)] <= RANK[own]
    }
    assert not wrong, f"{shown(path)} is in layer {own!r} and must not import {sorted(wrong)}"


def test_no_imports_go_in_a_circle():
    """Within a part, too; and those count that are there for types alone."""
    names = {name_of(path): path for path in FILES if path.name != "__init__.py"}
    graph = {name: {other for other in imported_modules(path) if other in names} for name, path in names.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("path", [path for path in FILES if part_of(name_of(path)) in PURE], ids=shown)
def test_what_decides_is_pure(path):
    assert not roots(path) & IMPURE_MODULES
    tree = ast.parse(path.read_text())
    calls = {
        (getattr(node.func.value, "attr", getattr(node.func.value, "id", "")), node.func.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not calls & CLOCK_CALLS


@pytest.mark.parametrize(("driver", "file"), ONLY_IMPORTER.items())
def test_a_driver_is_imported_by_its_own_file_only(driver, file):
    assert {shown(path) for path in FILES if driver in roots(path)} <= {file}


@pytest.mark.parametrize("driver", sorted(ONE_IMPORTER))
def test_a_driver_is_imported_in_one_file(driver):
    assert len([shown(path) for path in FILES if driver in roots(path)]) <= 1


def test_the_check_reads_relative_imports_and_parts(tmp_path, monkeypatch):
    """What the tests above rest on: every way to write an import is understood."""
    package = tmp_path / "goflow_trio"
    (package / "core").mkdir(parents=True)
    file = package / "core" / "x.py"
    file.write_text(
        "import trio.abc\nfrom . import plan\nfrom ..web import api\nfrom goflow_trio import cli, Job\n"
        "def late():\n    from goflow_trio.actors.store import Store\n"
    )
    monkeypatch.setattr(f"{__name__}.ROOT", package)
    assert imported(file) == {
        "trio.abc",
        "goflow_trio.core",
        "goflow_trio.web",
        "goflow_trio.cli",
        "goflow_trio",
        "goflow_trio.actors.store",
    }
    assert part_of("goflow_trio") == "__init__"
    assert part_of("goflow_trio.web.api") == "web"


@pytest.mark.parametrize("part", ["actors", "stores", "core"])
def test_the_map_in_the_readme_names_only_files_that_are_there(part):
    """A file that was moved or renamed is so in the map, too; not every file needs a place in it."""
    readme = (ROOT.parent / "README.md").read_text()
    text = re.search(rf"^  {part}/ +((?:.*\n)(?: {{8,}}.*\n)*)", readme, re.MULTILINE)[1]
    words = re.sub(r"\([^()]*\)", "", text.rpartition("only: ")[2].rpartition("pure: ")[2])
    names = {name for name in re.split(r"[,;\s]+|\band\b", words) if name}
    assert len(names) > 10
    assert {name for name in names if not (ROOT / part / f"{name}.py").exists()} == set()


def test_the_table_in_contributing_names_only_files_that_are_there():
    text = (ROOT.parent / "CONTRIBUTING.md").read_text()
    paths = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", text))
    assert len(paths) > 10
    assert {path for path in paths if not ((ROOT / path).exists() or (ROOT.parent / path).exists())} == set()
