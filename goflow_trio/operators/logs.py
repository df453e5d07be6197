"""Python's logging and printing inside a task become output of the task, while an engine, or a worker's call, is open.

Which attempt a record or a line belongs to is a context variable, set by the task actor: it follows the work into trio
tasks and into trio's worker threads. (A thread that the work starts by `threading` begins with an empty context, as
all do.) What is logged or printed elsewhere passes by, unchanged.

For logging there is one handler at the root logger. Where nobody has configured logging, two things would change by
that, and do not: warnings from outside tasks still go to stderr, and the root's level, which would hide `logging.info`
from everybody, is INFO as long as this handler is the only one to see it. For printing, `sys.stdout` and `sys.stderr`
are wrapped. When the last engine closes, all is as it was.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol, TextIO


class Sink(Protocol):
    """Takes what is logged and printed, from any thread."""

    @property
    def closed(self) -> bool:
        """Whether what comes now is nobody's."""
        ...  # pragma: no cover

    def write(self, data: bytes | str, stream: str = "stdout") -> None:
        """Take the next bytes of a stream; never blocks."""
        ...  # pragma: no cover


current_output: Final[ContextVar[Sink | None]] = ContextVar("goflow_trio_output", default=None)
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


class _Routed:
    """Stands for `sys.stdout` or `sys.stderr`: what a task prints goes to its output, all else where it went before."""

    def __init__(self, original: TextIO, stream: str) -> None:
        self.original = original
        self._stream = stream

    def write(self, text: str) -> int:
        """Write to the task's output, or on."""
        output = current_output.get()
        if output is None or output.closed:
            return self.original.write(text)
        output.write(text, self._stream)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


_handler: Final = _TaskHandler()
_lock: Final = threading.Lock()  # workers call from several threads
_users = 0
_raised_level = False
_routed: Final[dict[str, _Routed]] = {}


@contextmanager
def task_logging() -> Iterator[None]:
    """Route what tasks log and print for the length of a block; engines in one process may overlap."""
    global _users  # noqa: PLW0603  # there is one root logger, and one sys.stdout
    with _lock:
        _users += 1
        if _users == 1:
            _begin()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _end()


def _begin() -> None:
    global _raised_level  # noqa: PLW0603
    root = logging.getLogger()
    _raised_level = not root.handlers and root.level == logging.WARNING
    if _raised_level:
        root.setLevel(logging.INFO)
    root.addHandler(_handler)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is not None:  # under pythonw there is none
            _routed[name] = _Routed(getattr(sys, name), name)
            setattr(sys, name, _routed[name])


def _end() -> None:
    root = logging.getLogger()
    root.removeHandler(_handler)
    if _raised_level and root.level == logging.INFO:
        root.setLevel(logging.WARNING)
    for name, stream in _routed.items():
        if getattr(sys, name) is stream:  # else somebody replaced it meanwhile, and knows what they do
            setattr(sys, name, stream.original)
    _routed.clear()
