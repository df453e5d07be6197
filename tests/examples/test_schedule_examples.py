"""The examples about schedules and about testing, and the pages that show them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples.test_examples import load

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", [name for name in vars(load("testing_jobs")) if name.startswith("test_")])
def test_each_test_of_the_example_passes(name):
    getattr(load("testing_jobs"), name)()


@pytest.mark.parametrize("page", ["testing", "schedules"])
def test_the_code_of_a_page_runs(page):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        space: dict[str, object] = {"__name__": "page"}
        exec(compile(block, f"docs/{page}.md", "exec"), space)  # it is ours
        for name, test in space.items():
            if name.startswith("test_"):
                test()
