"""What our own tests needed and yours may too. Public, and free of any test framework but for `pytest_plugin`.

- `simulation`: `simulate()`, jobs over a year in seconds; `run_job()`, one execution
- `clock`: the clock they run on; it jumps while nothing works
- `leaks`: `assert_no_leaks()`, nothing is left of what ran
- `pytest_plugin`: the same as fixtures
- `store_conformance`: what a store of yours has to pass
- `faulty`: stores that die or fail on purpose
"""

from goflow_trio.testing.clock import WorkClock
from goflow_trio.testing.leaks import assert_no_leaks
from goflow_trio.testing.simulation import History, run_job, simulate

__all__ = ["History", "WorkClock", "assert_no_leaks", "run_job", "simulate"]
