"""No test gives up before a slow machine is done: see `tests/patience.py`."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.patience import SOON

FOLDER = Path(__file__).parent
CLOCKS = {"autojump_clock", "mock_clock"}
OTHERS = {"dashboard", "testing/test_simulate.py"}
"""Playwright waits by itself; the simulation's clock stands still while something works."""


def functions(node):
    """Yield the functions that no other function is around."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            yield inner
        else:
            yield from functions(inner)


def hasty(function):
    """Yield the calls of `fail_after` in a function in real time that give less than `SOON` in figures."""
    if CLOCKS.isdisjoint(argument.arg for argument in function.args.args):
        for node in ast.walk(function):
            match node:
                case ast.Call(ast.Attribute(attr="fail_after"), [ast.Constant(seconds)]) if seconds < SOON:
                    yield node


def test_what_is_waited_for_in_real_time_has_a_minute():
    found = [
        f"{path}:{call.lineno}"
        for path in sorted(FOLDER.rglob("*.py"))
        if not path.relative_to(FOLDER).as_posix().startswith(tuple(OTHERS))
        for function in functions(ast.parse(path.read_text()))
        for call in hasty(function)
    ]
    assert not found, "use SOON, or a virtual clock"
