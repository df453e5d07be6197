"""A child process and everything it starts: begun in a session of its own, and ended as a whole.

This file knows nothing of tasks, output or results. Two ways lead to a child's descendants, and both are taken: its
process group, and a mark (`reaper.py`) which also those inherit that left the group by `setsid` or hid otherwise.
Should the server itself be killed, a helper process finds the same marks (`guard`).

`preexec_fn` is not used: it runs Python between fork and exec, and is slow in a big process.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress

import trio
from attrs import define, field

from goflow_trio.operators import reaper
from goflow_trio.operators.reaper import Mark
from goflow_trio.operators.toll import Toll, current_toll

SERVER = secrets.randbits(30)
"""This server's part of the marks. A pid would be 1 in every container."""

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

logger = logging.getLogger("goflow_trio.processes")

_SHORT_RUN = 10.0
_FEW_PIDS = 64
_SLICE = 16  # environments read between two checkpoints: about 150 µs
_runs = itertools.count(1)
_leaders: set[int] = set()  # started here and not yet waited for


def new_mark() -> Mark:
    """Give a mark that no other run of any server has."""
    return SERVER, next(_runs)


@define(eq=False)
class Child:
    """A started process and our ends of its pipes."""

    popen: subprocess.Popen[bytes]
    mark: Mark
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream
    stdin: trio.lowlevel.FdStream | None
    _pidfd: int | None = field(init=False)
    _exited: bool = field(default=False, init=False)
    _since: float = field(factory=trio.current_time, init=False)

    def __attrs_post_init__(self) -> None:
        self._pidfd = _open_pidfd(self.popen.pid)
        _leaders.add(self.popen.pid)

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
        toll = current_toll.get() or Toll()
        members = await self._members() if forced else ()
        toll.processes += len(members)
        _signal_group(self.popen.pid, signal.SIGTERM)
        for pid in members:
            if _group_of(pid) != self.popen.pid:
                reaper.signal_marked(pid, self.mark, signal.SIGTERM)
        with trio.move_on_after(GRACE if forced else LEFTOVER) as grace:
            await self._wait_group_gone()
        if members:
            toll.killed += len(await self._wait_members_gone())
        if grace.cancelled_caught:
            _signal_group(self.popen.pid, signal.SIGKILL)
            with trio.move_on_after(REAP):
                await self._wait_group_gone()
        await _sweep(self, thorough=thorough or not drained.is_set())
        if not drained.is_set():
            with trio.move_on_after(DRAIN):
                await drained.wait()

    async def _wait_members_gone(self) -> Sequence[int]:
        """Wait a moment for what left the group, which was told to end as well; return what does not."""
        pause = 0.005
        until = trio.current_time() + LEFTOVER
        while members := await self._members():
            if trio.current_time() >= until:
                break
            await trio.sleep(pause)
            pause = min(2 * pause, 0.1)
        return members

    async def _members(self) -> Sequence[int]:
        """Return the processes of the whole tree that live; of a system without /proc, the first one alone."""
        if reaper.pids():
            return (await _census().take()).get(self.mark[1], ())
        return (self.popen.pid,) if self.popen.poll() is None else ()

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
        _leaders.discard(self.popen.pid)
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


async def start(argv: Sequence[str], *, env: Mapping[str, str], cwd: str | None, feed: bool) -> Child:
    """Start a process in a session of its own, inheriting only its three standard streams.

    When the machine has no process or descriptor left, it is tried again for `PATIENCE` seconds: that is no fault
    of the command.

    Args:
        argv: program and arguments; no shell is involved.
        env: the whole environment but the mark.
        cwd: where to run, or None for here.
        feed: give it a pipe as standard input; it reads /dev/null otherwise.

    Raises:
        OSError: it cannot be started; `filename` is `cwd` when that is the cause.
        ValueError: a text cannot be passed to a process.
    """
    _guard.ensure()
    mark = new_mark()
    deadline = trio.current_time() + PATIENCE
    pause = 0.05
    while True:
        try:
            return _spawn(argv, {**env, reaper.MARKER: reaper.text_of(mark)}, cwd, mark, feed=feed)
        except OSError as error:
            if error.errno not in SCARCE or trio.current_time() > deadline:
                raise
        await trio.sleep(pause)
        pause = min(2 * pause, 2.0)


def _spawn(argv: Sequence[str], env: Mapping[str, str], cwd: str | None, mark: Mark, *, feed: bool) -> Child:
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
        with reaper.marking(mark):
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
    return Child(popen, mark, stdout, stderr, stdin)


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
    for count, pid in enumerate(reaper.pids()):
        # pid (name, which may hold anything) state parent group ...
        state, _, group, *_ = reaper.read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split() or (b"", b"", b"")
        if int(group or -1) == pgid and state not in b"ZX":
            return True
        unknown = False
        if count % _SLICE == _SLICE - 1:
            await trio.lowlevel.checkpoint()
    return unknown


class _Census:
    """A look at all processes for the marks of this server, shared by all who ask for one meanwhile.

    A hundred commands that end together would otherwise look at all processes a hundred times.
    """

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self._asked = 0
        self._answered = 0
        self._found: dict[int, list[int]] = {}

    async def take(self) -> dict[int, list[int]]:
        """Return the living processes of each run, as found by a look that began after this call."""
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self._answered < mine:
                answers = self._asked
                self._found = await self._look()
                self._answered = answers
        return self._found

    async def _look(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        session = os.getsid(0)
        for count, pid in enumerate(reaper.pids()):
            mark = reaper.mark_of(pid)
            known = mark is not None and mark[0] == SERVER and reaper.is_ours(pid, session)
            if mark is None or not known:
                continue
            if reaper.is_zombie(pid):
                _reap_adopted(pid)
            else:
                found.setdefault(mark[1], []).append(pid)
            if count % _SLICE == _SLICE - 1:
                await trio.lowlevel.checkpoint()
        return found


_censuses: trio.lowlevel.RunVar[_Census] = trio.lowlevel.RunVar("goflow_trio_census")


def _census() -> _Census:
    try:
        return _censuses.get()
    except LookupError:
        census = _Census()
        _censuses.set(census)
        return census


async def _sweep(child: Child, *, thorough: bool) -> None:
    """Kill what carries the child's mark outside its group. Without /proc there is nothing to look at.

    After a short run that ended well only the pids given out since its start are looked at: about 40 µs, where
    looking at 70 processes takes 700. A thorough sweep looks at all, until none is left.
    """
    if not thorough:
        session = os.getsid(0)
        near = (pid for pid in _pids_after(child.popen.pid) if reaper.mark_of(pid) == child.mark)
        if not any(reaper.is_ours(pid, session) for pid in near):
            return
    for _ in range(20):  # a round may race with a fork
        found = (await _census().take()).get(child.mark[1], ())
        if not found:
            return
        for pid in found:
            reaper.signal_marked(pid, child.mark, signal.SIGKILL)
        await trio.sleep(0.005)


def _pids_after(pid: int) -> Iterator[int]:
    """Give the pids that may have been given out after `pid`; all when the counter has wrapped."""
    try:
        newest = int(reaper.read_file("/proc/loadavg").split()[-1])
    except (ValueError, IndexError):
        yield from reaper.pids()
        return
    if 0 <= newest - pid <= _FEW_PIDS:
        yield from range(pid + 1, newest + 1)
    elif newest > pid:
        yield from (other for other in reaper.pids() if pid < other <= newest)
    else:
        yield from reaper.pids()


def _reap_adopted(pid: int) -> None:
    """Take the exit of an orphan that a command left and that came to us, as the first process of a container.

    The processes that were started here are left to `Popen`.
    """
    if os.getpid() == 1 and pid not in _leaders:
        with suppress(OSError):
            os.waitpid(pid, os.WNOHANG)


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return -1


class _Guard:
    """The helper that ends what is left when this server is killed. There is one, from the first command on."""

    def __init__(self) -> None:
        self.users = 0
        self._popen: subprocess.Popen[bytes] | None = None

    def ensure(self) -> None:
        """Start the helper unless it runs. 2 ms, once."""
        if not self.users or not reaper.pids() or (self._popen is not None and self._popen.poll() is None):
            return
        self._forget()
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, "-I", "-S", reaper.__file__, str(SERVER), str(os.getpid()), str(os.getsid(0))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:  # the machine is full, or Python is packed away: commands run all the same
            logger.warning("no helper ends what commands leave if this server is killed: %s", error)

    def _forget(self) -> None:
        if self._popen is not None and self._popen.stdin is not None:
            self._popen.stdin.close()
        self._popen = None

    async def stop(self) -> None:
        """Let the helper end; it looks for what is left once more."""
        popen = self._popen
        self._forget()
        if popen is not None:
            # In real time: a virtual clock would not wait for a process.
            await trio.to_thread.run_sync(popen.wait, limiter=trio.CapacityLimiter(1))


_guard = _Guard()


@asynccontextmanager
async def guard() -> AsyncIterator[None]:
    """While this block is open, a helper process ends what commands have started should this process be killed."""
    _guard.users += 1
    try:
        yield
    finally:
        _guard.users -= 1
        if not _guard.users:
            with trio.CancelScope(shield=True):  # the helper bounds itself
                await _guard.stop()
