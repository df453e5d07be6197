"""Which processes belong to which run, and the helper that ends them when the server was killed.

Every process of a command carries a mark that tells its server and its run, twice:

- in the environment (`MARKER`), which survives `setsid` and double forks, but not `env -i`;
- as its soft limit of `RLIMIT_RTTIME`, a number so large that it limits nothing. It is inherited over everything a
  program does to hide, is read with one system call of 2 µs, and is of no use to anybody else: it concerns real-time
  scheduling alone.

Run as a program, this file waits for its server to end, in whatever way, and then ends what carries the server's mark:
TERM, a second, KILL. It is a process and not `PR_SET_PDEATHSIG`, which fires when the spawning *thread* ends and so
kills healthy children. It starts in 20 ms from the standard library alone, and keeps nothing of the server's open but
its end of a pipe.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MARKER = "GOFLOW_RUN_MARKER"
"""Environment variable with the mark: `<server>/<run>`, both in hexadecimal."""

GRACE = 1.0
"""Seconds between TERM and KILL when the server is gone."""

PATIENCE = 10.0
"""Seconds after which the helper gives up on what cannot be killed."""

_BIT = 1 << 62
_RUN_BITS = 32
_SERVER_BITS = 30
_NEEDLE = f"{MARKER}=".encode()

_marking = threading.Lock()

Mark = tuple[int, int]
"""Server (30 bits) and run (32 bits)."""

try:
    import resource

    _read_limit = resource.prlimit
    _LIMIT = resource.RLIMIT_RTTIME
except (ImportError, AttributeError):  # not Linux: only the process group is known there
    _LIMIT = -1


def text_of(mark: Mark) -> str:
    """Return a mark as the environment carries it."""
    return f"{mark[0]:x}/{mark[1]:x}"


@contextmanager
def marking(mark: Mark) -> Iterator[None]:
    """Mark what is started in this block by its limit.

    The limit is our own meanwhile, and inherited. To mark a process when it has been started is too late: on a busy
    machine it has children by then. What *another thread* of ours starts in just this millisecond is marked as well; it
    is told apart by being in our own session, in which no command is (`is_ours`).
    """
    if _LIMIT < 0:
        yield
        return
    with _marking:
        soft, hard = _read_limit(0, _LIMIT)
        try:
            with suppress(OSError, ValueError):  # the machine has a limit of its own: the environment has to do
                _read_limit(0, _LIMIT, (_BIT | mark[0] << _RUN_BITS | mark[1], hard))
            yield
        finally:
            _read_limit(0, _LIMIT, (soft, hard))


def is_ours(pid: int, session: int) -> bool:
    """Return whether a marked process is of a command, and not of another thread of the server of this session."""
    try:
        return os.getsid(pid) != session
    except OSError:
        return False


def mark_of(pid: int) -> Mark | None:
    """Return the mark of a process, or None."""
    if _LIMIT >= 0:
        try:
            soft, _ = _read_limit(pid, _LIMIT)
        except (OSError, ValueError):  # gone, or not ours to look at
            return None
        if soft > 0 and soft & _BIT:
            return soft >> _RUN_BITS & (1 << _SERVER_BITS) - 1, soft & (1 << _RUN_BITS) - 1
    environment = read_file(f"/proc/{pid}/environ")
    place = environment.find(_NEEDLE)
    if place < 0 or (place and environment[place - 1]):
        return None
    server, _, run = environment[place + len(_NEEDLE) :].partition(b"\0")[0].partition(b"/")
    try:
        return int(server, 16), int(run, 16)
    except ValueError:
        return None


def pids() -> list[int]:
    """Return all processes there are; none where there is no /proc."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names are all
    except OSError:
        return []


def is_zombie(pid: int) -> bool:
    """Return whether a process has ended, or is gone altogether."""
    state = read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split(maxsplit=1)[:1]
    return not state or state[0] in (b"Z", b"X")


def signal_marked(pid: int, mark: Mark, number: int) -> bool:
    """Send a signal to a process if it carries the mark; tell whether it did and lives."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if mark_of(pid) != mark or is_zombie(pid):  # asked while it is held: the number may have gone to another
            return False
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def read_file(path: str) -> bytes:
    """Read a file of /proc; what is gone or not ours to read is empty."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return b"".join(iter(lambda: os.read(handle, 1 << 17), b""))
    except OSError:
        return b""
    finally:
        os.close(handle)


def of_server(server: int, session: int) -> Iterator[tuple[int, Mark]]:
    """Give the living processes that the commands of a server in a session have started."""
    for pid in pids():
        mark = mark_of(pid)
        if mark is not None and mark[0] == server and is_ours(pid, session) and not is_zombie(pid):
            yield pid, mark


def _await_end(parent: int) -> None:
    """Wait until the server is gone: its end of the pipe is closed, or (a fork of it may hold that) its process is."""
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    with suppress(OSError, AttributeError):
        poll.register(os.pidfd_open(parent), select.POLLIN)
    while os.getppid() == parent:
        if poll.poll():
            return


def _end_all(server: int, session: int) -> None:
    begun = time.monotonic()
    number = signal.SIGTERM
    while time.monotonic() - begun < PATIENCE:
        found = [signal_marked(pid, mark, number) for pid, mark in of_server(server, session)]
        if not any(found):
            return
        if number == signal.SIGTERM:
            until = time.monotonic() + GRACE
            while time.monotonic() < until and next(of_server(server, session), None) is not None:
                time.sleep(0.02)
            number = signal.SIGKILL
        time.sleep(0.01)


def main() -> None:
    """Wait for the server, whose number, pid and session are the arguments; then end what it has started."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _await_end(int(sys.argv[2]))
    _end_all(int(sys.argv[1]), int(sys.argv[3]))


if __name__ == "__main__":
    main()
