"""Fixtures for pytest. In your `conftest.py`: `pytest_plugins = ["goflow_trio.testing.pytest_plugin"]`.

`simulate` and `run_job` are the functions of `goflow_trio.testing`; at the end of the test it is asserted that nothing
of what they started is left. A job that leaks a process or a thread fails its test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from goflow_trio.testing import simulation
from goflow_trio.testing.leaks import assert_no_leaks


@pytest.fixture
def simulate() -> Iterator[Any]:
    """`goflow_trio.testing.simulate`, watched for leaks."""
    with assert_no_leaks():
        yield simulation.simulate


@pytest.fixture
def run_job() -> Iterator[Any]:
    """`goflow_trio.testing.run_job`, watched for leaks."""
    with assert_no_leaks():
        yield simulation.run_job
