"""Python's logging inside a task becomes output of the task. One handler for the process, while an engine is open.

Which attempt a record belongs to is a context variable, set by the task actor: it follows the work into trio tasks
and into trio's worker threads. (A thread that the work starts by `threading` begins with an empty context, as all do.)
Records from elsewhere are passed by.

The handler sits at the root logger. Where nobody has configured logging, two things would change by that, and do not:
warnings from outside tasks still go to stderr, and the root's level, which would hide `logging.info` from everybody, is
INFO as long as this handler is the only one to see it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from goflow_trio.actors.outputs import AttemptOutput

current_output: Final[ContextVar[AttemptOutput | None]] = ContextVar("goflow_trio_output", default=None)
"""Where what is logged now belongs; None outside of tasks."""


class _TaskHandler(logging.Handler):
    """Writes records into the output of the task that logs them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        output = current_output.get()
        if output is not None and not output.closed:
            try:
                output.write(self.format(record) + "\n", "log")
            except Exception:  # noqa: BLE001  # as every handler: a broken record must not break who logs it
                self.handleError(record)
            return
        fallback = logging.lastResort
        if logging.root.handlers == [self] and fallback is not None and record.levelno >= fallback.level:
            fallback.handle(record)


_handler: Final = _TaskHandler()
_users = 0
_raised_level = False


@contextmanager
def task_logging() -> Iterator[None]:
    """Route records of tasks for the length of a block; engines in one process may overlap."""
    global _users, _raised_level  # noqa: PLW0603  # there is one root logger
    _users += 1
    root = logging.getLogger()
    if _users == 1:
        _raised_level = not root.handlers and root.level == logging.WARNING
        if _raised_level:
            root.setLevel(logging.INFO)
        root.addHandler(_handler)
    try:
        yield
    finally:
        _users -= 1
        if not _users:
            root.removeHandler(_handler)
            if _raised_level and root.level == logging.INFO:
                root.setLevel(logging.WARNING)
