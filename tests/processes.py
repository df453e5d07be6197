"""Child processes of tests: whatever becomes of a test, none outlives it, and none is waited for in vain."""

import subprocess
from contextlib import contextmanager


@contextmanager
def child(command, **options):
    """Run a command for the length of a block; what still runs at its end is killed."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()
