"""A child process and everything it starts: begun in a session of its own, and ended as a whole.

This file knows nothing of tasks, output or results. Two ways lead to a child's descendants, and both are taken: its
process group, and a variable in the environment (`MARKER`) which also those inherit that left the group by `setsid`.

`preexec_fn` is not used (it runs Python between fork and exec, and is slow in a big process), nor is
`PR_SET_PDEATHSIG`: the kernel sends that signal when the *thread* that spawned ends, which kills healthy children.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress

import trio
from attrs import define, field

MARKER = "GOFLOW_RUN_MARKER"
"""Environment variable that tells whose process this is: `<server>/<run>`, see `new_marker`."""

SERVER = f"{os.getpid()}-{secrets.token_hex(4)}"
"""This server's part of the marker, up to the `/`. A pid alone would be 1 in every container."""

GRACE = 5.0
"""Seconds between TERM and KILL for a command that is ended before its time."""

LINGER = 0.5
"""Seconds after a normal exit for what still writes to the pipes (`exec > >(tee log)` does), before TERM."""

LEFTOVER = 0.25
"""Seconds between TERM and KILL for what a command left behind when it had exited by itself."""

DRAIN = 0.2
"""Seconds for the pipes to reach their end once all that can be ended is ended."""

REAP = 5.0
"""Seconds for the kernel to end what was sent KILL; longer only in uninterruptible sleep, then it is left."""

SCARCE = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What a start fails with when the machine is full for the moment."""

PATIENCE = 60.0
"""Seconds that a start is tried again while the machine is full."""

_SHORT_RUN = 10.0
_FEW_PIDS = 64
_SLICE = 16  # environments read between two checkpoints: about 150 µs
_runs = itertools.count(1)


def new_marker() -> str:
    """Give a marker that no other run of any server has.

    To end all that a server has started, after its death too, look for `MARKER=<its SERVER>/` in the environments.
    """
    return f"{SERVER}/{next(_runs)}"


@define(eq=False)
class Child:
    """A started process and our ends of its pipes."""

    popen: subprocess.Popen[bytes]
    marker: str
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream
    stdin: trio.lowlevel.FdStream | None
    _pidfd: int | None = field(init=False)
    _exited: bool = field(default=False, init=False)
    _since: float = field(factory=trio.current_time, init=False)

    def __attrs_post_init__(self) -> None:
        self._pidfd = _open_pidfd(self.popen.pid)

    async def wait(self) -> None:
        """Wait until the process has exited.

        With a pidfd it stays a zombie until `end`, so that its process group cannot be anybody else's before.
        """
        if self._exited:
            return
        if self._pidfd is not None:
            await trio.lowlevel.wait_readable(self._pidfd)
        else:  # macOS, and sandboxes that know no pidfd: a thread each
            await trio.to_thread.run_sync(self.popen.wait, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True)

    async def end(self, drained: trio.Event, *, forced: bool) -> None:
        """End the process and all its descendants, and reap it. Takes a bounded time; call it in a shield.

        Args:
            drained: set by the reader of the pipes when they are at their end.
            forced: the process may still be running, and is ended before its time. What a process left behind when
                it exited by itself gets less time: all is over within a second.
        """
        thorough = forced or trio.current_time() - self._since > _SHORT_RUN
        if not (forced or drained.is_set()):
            with trio.move_on_after(LINGER):
                await drained.wait()
        _signal_group(self.popen.pid, signal.SIGTERM)
        with trio.move_on_after(GRACE if forced else LEFTOVER) as grace:
            await self._wait_group_gone()
        if grace.cancelled_caught:
            _signal_group(self.popen.pid, signal.SIGKILL)
            with trio.move_on_after(REAP):
                await self._wait_group_gone()
        await _sweep(self, thorough=thorough or not drained.is_set())
        if not drained.is_set():
            with trio.move_on_after(DRAIN):
                await drained.wait()

    async def _wait_group_gone(self) -> None:
        """Reap the leader, then wait until its group is empty."""
        await self.wait()
        self.popen.poll()
        pause = 0.001
        # The kernel tells nobody that a group is empty, so it is asked. Its number is not given to another
        # process as long as it has a member.
        while await _group_lives(self.popen.pid):
            await trio.sleep(pause)
            pause = min(2 * pause, 0.05)

    def close(self) -> None:
        """Close our ends. The reader and the feeder must have stopped."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


async def start(argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None, marker: str, feed: bool) -> Child:
    """Start a process in a session of its own, inheriting only its three standard streams.

    When the machine has no process or descriptor left, it is tried again for `PATIENCE` seconds: that is no fault
    of the command.

    Args:
        argv: program and arguments; no shell is involved.
        env: the whole environment but the marker.
        cwd: where to run, or None for here.
        marker: from `new_marker`.
        feed: give it a pipe as standard input; it reads /dev/null otherwise.

    Raises:
        OSError: it cannot be started; `filename` is `cwd` when that is the cause.
        ValueError: a text cannot be passed to a process.
    """
    deadline = trio.current_time() + PATIENCE
    pause = 0.05
    while True:
        try:
            return _spawn(argv, {**env, MARKER: marker}, cwd, marker, feed=feed)
        except OSError as error:
            if error.errno not in SCARCE or trio.current_time() > deadline:
                raise
        await trio.sleep(pause)
        pause = min(2 * pause, 2.0)


def _spawn(argv: Sequence[str], env: Mapping[str, str], cwd: str | None, marker: str, *, feed: bool) -> Child:
    """Open the pipes and start the process; on failure nothing stays open.

    `Popen` blocks the loop until the child has called exec: 220 µs with 300 MB resident (it is a vfork), up to 4 ms
    with both cores busy. It is done here all the same: with the exit by pidfd, a bare start and wait takes 960 µs and
    250 µs of our CPU; in a thread 1,290 µs; by `trio.run_process` 1,380 µs and 930 µs of our CPU.
    """
    with ExitStack() as ours, ExitStack() as theirs:

        def pipe(*, to_child: bool) -> tuple[trio.lowlevel.FdStream, int]:
            read, write = os.pipe()
            mine, its = (write, read) if to_child else (read, write)
            theirs.callback(os.close, its)
            stream = trio.lowlevel.FdStream(mine)
            ours.callback(stream.close)
            return stream, its

        stdout, stdout_end = pipe(to_child=False)
        stderr, stderr_end = pipe(to_child=False)
        stdin, stdin_end = pipe(to_child=True) if feed else (None, subprocess.DEVNULL)
        popen = subprocess.Popen(  # noqa: S603 - running the user's command is what this is for
            argv,
            stdin=stdin_end,
            stdout=stdout_end,
            stderr=stderr_end,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )
        ours.pop_all()
    return Child(popen, marker, stdout, stderr, stdin)


def _open_pidfd(pid: int) -> int | None:
    """Open a descriptor that becomes readable at the exit of a process, where the system has such a thing."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _signal_group(pgid: int, number: int) -> bool:
    """Send a signal to a process group; tell whether there was anybody we may signal."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


async def _group_lives(pgid: int) -> bool:
    """Tell whether a process group has a member that is more than a zombie.

    Orphans that have ended are zombies until the system's first process reaps them; in a container that took up to
    2 s, and may take for ever. A group that is empty costs one system call; /proc is read only if it is not.
    """
    if not _signal_group(pgid, 0):
        return False
    unknown = True
    for count, pid in enumerate(_pids()):
        # pid (name, which may hold anything) state parent group ...
        state, _, group, *_ = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split() or (b"", b"", b"")
        if int(group or -1) == pgid and state not in b"ZX":
            return True
        unknown = False
        if count % _SLICE == _SLICE - 1:
            await trio.lowlevel.checkpoint()
    return unknown


async def _sweep(child: Child, *, thorough: bool) -> None:
    """Kill what carries the child's marker outside its group. Without /proc there is nothing to look at.

    After a short run that ended well only the pids given out since its start are looked at: about 40 µs, where
    reading the environments of 70 processes takes 700. A thorough sweep looks at all, in slices, until none is left.
    """
    needle = f"{MARKER}={child.marker}\0".encode()
    for _ in range(10):  # a round may race with a fork
        found = False
        for count, pid in enumerate(_pids() if thorough else _pids_after(child.popen.pid)):
            found |= _kill_marked(pid, needle)
            if count % _SLICE == _SLICE - 1:
                await trio.lowlevel.checkpoint()
        if not found:
            return
        thorough = True
        await trio.sleep(0.005)


def _pids() -> Iterator[int]:
    """Give all pids there are."""
    with suppress(OSError):
        yield from [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names are all


def _pids_after(pid: int) -> Iterator[int]:
    """Give the pids that may have been given out after `pid`; all when the counter has wrapped."""
    try:
        newest = int(_read("/proc/loadavg").split()[-1])
    except (ValueError, IndexError):
        yield from _pids()
        return
    if 0 <= newest - pid <= _FEW_PIDS:
        yield from range(pid + 1, newest + 1)
    elif newest > pid:
        yield from (other for other in _pids() if pid < other <= newest)
    else:
        yield from _pids()


def _kill_marked(pid: int, needle: bytes) -> bool:
    """Kill a process if its environment says it is ours; tell whether it was."""
    path = f"/proc/{pid}/environ"
    if needle not in _read(path):
        return False
    pidfd = _open_pidfd(pid)
    if pidfd is None:
        return False
    try:
        if needle not in _read(path):  # the pid may have gone to somebody else before it was held
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def _read(path: str) -> bytes:
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
