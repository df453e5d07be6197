"""Real servers under load that are killed, and whose store is restarted: nothing acknowledged is lost or doubled.

The long variants are marked slow; `python -m tests.faults.load` runs them as a program and prints the figures.
"""

from __future__ import annotations

import pytest

from tests import servers
from tests.faults.load import is_clean, kill_again_and_again, restart_postgres


@pytest.mark.parametrize("times", [2, pytest.param(100, marks=pytest.mark.slow)])
def test_sigkill_at_random_moments_on_sqlite(tmp_path, times):
    figures = kill_again_and_again(f"sqlite:///{tmp_path}/load.db", servers.free_port(), times, seed=1)
    assert is_clean(figures), figures


@pytest.fixture
def own_postgres():
    """A PostgreSQL of this test's own, which it may break."""
    try:
        server = servers.postgres()
    except servers.Missing as missing:
        pytest.skip(str(missing))
    server.start()
    yield server
    server.close()


@pytest.mark.parametrize("times", [1, pytest.param(100, marks=pytest.mark.slow)])
def test_sigkill_at_random_moments_on_postgres(own_postgres, times):
    figures = kill_again_and_again(own_postgres.url, servers.free_port(), times, seed=2)
    assert is_clean(figures), figures


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_restarts_of_postgres_under_twenty_submits_a_second(own_postgres, times):
    figures = restart_postgres(own_postgres, servers.free_port(), times, seed=3)
    assert is_clean(figures), figures
