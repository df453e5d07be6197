"""Is anything left? Threads, file descriptors and child processes that were not there before."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from goflow_trio.operators import reaper
from goflow_trio.operators.processes import SERVER

_LOOKS: Final = 500
"""How often it is looked before something counts as left. Looks are counted and not seconds: while the machine stands
still, what is on its way out stands still too."""

_LOOK_SECONDS: Final = 0.02
_POOLED: Final = "Trio thread"
"""trio keeps threads for ten seconds after their work, to use them again."""


class assert_no_leaks:  # noqa: N801  # it is used as a function is
    """Assert that nothing is left: at once of what goflow-trio starts, and as a block of what the block started.

    Called on its own, it looks for child processes of operators of this program. As a context manager it also compares
    threads, child processes and open file descriptors before and after; what is on its way out gets ten seconds.

    Example:
        `with assert_no_leaks(): run_job(my_job)`

    Raises:
        AssertionError: something is left; it says what.
    """

    def __init__(self) -> None:
        self._assert_gone(_commands)
        self._before = _everything()

    def __enter__(self) -> Self:
        self._before = _everything()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # an error tells more than what it left behind
            self._assert_gone(lambda: _everything() - self._before)

    def _assert_gone(self, look: Callable[[], Counter[str]]) -> None:
        left = look()
        for _ in range(_LOOKS):
            if not left:
                return
            time.sleep(_LOOK_SECONDS)
            left = look()
        if left:
            raise AssertionError(f"still there: {'; '.join(sorted(left.elements()))}")


def _everything() -> Counter[str]:
    return _threads() + _children() + _descriptors() - _tracker()


def _threads() -> Counter[str]:
    names = (thread.name for thread in threading.enumerate())
    return Counter(f"thread {name!r}" for name in names if not name.startswith(_POOLED))


def _children() -> Counter[str]:
    """Return the living child processes of this one; none where the system has no /proc."""
    found: Counter[str] = Counter()
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in _read(path).split():
            if name := _process(pid):
                found[name] += 1
    return found


def _process(pid: str) -> str:
    """Return how a process is called here; nothing if it does not live."""
    stat = _read(Path("/proc", pid, "stat")).rpartition(")")
    return "" if stat[2].split()[:1] in ([], ["Z"]) else f"process {pid} ({stat[0].partition('(')[2]})"


def _tracker() -> Counter[str]:
    """Return what Python starts once and keeps to its own end, as soon as something uses `multiprocessing`."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    tracker = getattr(module, "_resource_tracker", None)
    pid, descriptor = getattr(tracker, "_pid", None), getattr(tracker, "_fd", None)
    if pid is None or descriptor is None:
        return Counter()
    return Counter(name for name in (_process(str(pid)), _descriptor(Path(f"/proc/self/fd/{descriptor}"))) if name)


def _commands() -> Counter[str]:
    """Return the processes that operators of this program started, wherever they went."""
    ours = (pid for pid in reaper.pids() if (mark := reaper.mark_of(pid)) is not None and mark[0] == SERVER)
    return Counter(f"process {pid} of an operator" for pid in ours if not reaper.is_zombie(pid))


def _descriptors() -> Counter[str]:
    return Counter(name for path in Path("/proc/self/fd").glob("*") if (name := _descriptor(path)))


def _descriptor(path: Path) -> str:
    """Return how a file descriptor is called here; nothing if it is closed, as the one that lists the folder is."""
    try:
        return f"open {path.readlink()}".partition(":[")[0]
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
