"""The examples of docs/durability.md run, and what it says of the limits is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from goflow_trio.core import limits

PAGE = (Path(__file__).parents[2] / "docs" / "durability.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_examples_run():
    done = [
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True) for text in EXAMPLES
    ]
    assert "the store does not take writes now: no space left" in done[0].stdout
    assert done[0].stdout.splitlines()[1:] == ["degraded store full", "successful"]
    assert len(done) == 2


def test_the_limits_are_as_it_says():
    assert f"time-out ({limits.STORE_SECONDS:g} s" in PAGE
    assert f"renews that every {limits.LEASE_RENEWAL_SECONDS:g} s" in PAGE
    assert f"lease of {limits.LEASE_SECONDS:g} s" in PAGE
    assert f"kept for {limits.RETENTION_DAYS} days, and {limits.RETENTION_COUNT:,} of each job" in PAGE
    assert limits.REFUSAL_SECONDS < 2
