"""The operator that runs a program. What it prints is the task's output and, capped, its result.

Ending it is the business of `processes.py`, holding its output that of `output.py`. Parameters of an execution never
reach a shell line: what a command gets are its arguments and its environment, byte for byte.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from types import MappingProxyType
from typing import Any

import msgspec
import trio
from attrs import define, field, frozen

from goflow_trio.errors import CommandFailed, DefinitionError
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators import processes
from goflow_trio.operators.output import Kept
from goflow_trio.operators.secrets import Secret, revealed
from goflow_trio.operators.ulimit import ProcessLimits

RESULT_HEAD = 64 * 1024
"""Bytes of the beginning of the standard output that the result keeps."""

RESULT_TAIL = 64 * 1024
"""Bytes of the end of the standard output that the result keeps."""

STDERR_TAIL = 8 * 1024
"""Bytes of the end of the standard error that a `CommandFailed` keeps."""

MESSAGE_LINES = 10
"""Last lines of the standard error that the message of a `CommandFailed` shows."""

_MESSAGE_CAP = 2000
_NAME_CAP = 80
_CHUNK = 64 * 1024  # what a pipe holds


def _text_or_secret(value: object, what: str) -> str | Secret:
    """Take what can be passed to a process, now or when it is revealed."""
    return value if isinstance(value, Secret) else _text(value, what)


def _text(value: object, what: str) -> str:
    """Take a text or a path that can be passed to a process."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise DefinitionError(f"Command: {what} must be text or a path, got {value!r}; write {str(value)!r}")
    if "\0" in text:
        raise DefinitionError(f"Command: {what} must not contain a NUL character, got {text!r}")
    return text


def _program(value: object) -> str:
    """Take the program or the shell line."""
    text = _text(value, "cmd")
    if not text.strip():
        raise DefinitionError("Command: cmd is empty; name a program, or with shell=True write a line")
    return text


def _arguments(values: Iterable[object]) -> tuple[str | Secret, ...]:
    """Take the arguments; a single text would be split into its letters."""
    if isinstance(values, (str, bytes)):
        raise DefinitionError(f"Command: args must be a list, got the text {values!r}; write [{values!r}]")
    return tuple(_text_or_secret(value, f"argument {number}") for number, value in enumerate(values, 1))


def _environment(values: Mapping[Any, Any] | None) -> Mapping[str, str | Secret]:
    """Take a copy of the additions to the environment."""
    checked = {}
    for name, value in (values or {}).items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise DefinitionError(f"Command: {name!r} cannot be the name of an environment variable")
        checked[name] = _text_or_secret(value, f"environment variable {name}")
    return MappingProxyType(checked)


def _directory(value: str | os.PathLike[str] | None) -> str | None:
    """Take the working directory."""
    return None if value is None else _text(value, "cwd")


def _limits(value: object) -> ProcessLimits | None:
    """Take the limits."""
    if value is not None and not isinstance(value, ProcessLimits):
        raise DefinitionError(f"Command: limits must be ProcessLimits(memory=…, cpu_seconds=…), got {value!r}")
    return value


def _input(value: str | bytes | None) -> bytes | None:
    """Take the standard input as bytes."""
    if value is None or isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise DefinitionError(f"Command: stdin must be text, bytes or None, got {type(value).__name__}")
    return value.encode("utf-8", "surrogateescape")


def _plain(value: object) -> str:
    """Return the text of a parameter that JSON has no form for."""
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _params_environment(context: TaskContext) -> dict[str, str]:
    """Return the parameters as a command finds them; one that no environment can hold is in the JSON alone."""
    encoded = json.dumps(dict(context.params), default=_plain)
    found = {"GOFLOW_PARAMS": encoded}
    for name, value in json.loads(encoded).items():
        variable = "GOFLOW_PARAM_" + re.sub(r"[^A-Za-z0-9_]", "_", name).upper()
        text = value if isinstance(value, str) else json.dumps(value)
        if "\0" not in text:
            found[variable] = text
    return found


def _item_environment(context: TaskContext) -> dict[str, str]:
    """Return what a process is told of the item it is for."""
    if context.index is None:
        return {}
    text = context.item if isinstance(context.item, str) else msgspec.json.encode(context.item).decode()
    return {"GOFLOW_INDEX": str(context.index), "GOFLOW_ITEM": text.replace("\0", "\N{REPLACEMENT CHARACTER}")}


@frozen
class Command:
    r"""Run a program and return its standard output as text.

    It runs in a session of its own and inherits three descriptors: standard input (/dev/null unless `stdin` is
    given) and two pipes. Both its outputs go to the task's output while they are printed, each in its own order. The
    result holds the first and the last 64 KiB of standard output, decoded as UTF-8 with U+FFFD for what is none, and
    a line in between that tells how many bytes are left out.

    Its environment is the server's, `env` over it, and over both `GOFLOW_JOB`, `GOFLOW_EXECUTION_ID`, `GOFLOW_TASK`,
    `GOFLOW_ATTEMPT` and `GOFLOW_SCHEDULED_FOR`: ISO 8601 in UTC, and empty for an execution submitted by hand. For an
    item of a map also `GOFLOW_INDEX` and `GOFLOW_ITEM`: a text as it is, anything else as JSON. Parameters of the
    execution come as `GOFLOW_PARAM_<NAME>`, in the same way, and all together as JSON in `GOFLOW_PARAMS`.

    When the attempt ends, in whatever way, so does all that the program has started: the process group gets TERM and,
    after `processes.GRACE` seconds, KILL; on Linux, what left the group is found by its environment and killed. A
    program that exits by itself and leaves processes behind delays its task by less than a second. So a daemon
    cannot be started this way; ask the service manager of the machine.

    With `shell=True`, `cmd` is a line for /bin/sh and `args` are its `"$1"`, `"$2"`, ...: quoted like that, they
    arrive unchanged whatever they contain.

    >>> Command("sh -c exit", shell=True).argv
    ('/bin/sh', '-c', 'sh -c exit', 'sh')
    >>> Command('wc -l < "$1"', ["my file"], shell=True).argv[2:]
    ('wc -l < "$1"', 'sh', 'my file')

    Args:
        cmd: the program, looked up in PATH; with `shell`, the line.
        args: its arguments, each passed as it is; a `Secret` is revealed then.
        env: additions to the environment, values may be a `Secret`; not shown in a `repr`.
        cwd: working directory, the server's by default.
        stdin: text (sent as UTF-8) or bytes for its standard input.
        shell: `cmd` is a shell line.
        limits: what each of its processes may use of the machine.

    Raises:
        DefinitionError: an argument could not be passed to a process.
    """

    cmd: str = field(converter=_program)
    args: tuple[str | Secret, ...] = field(default=(), converter=_arguments)
    env: Mapping[str, str | Secret] = field(default=None, converter=_environment, repr=False, hash=False)
    cwd: str | None = field(default=None, converter=_directory)
    stdin: bytes | None = field(default=None, converter=_input, repr=False)
    shell: bool = False
    limits: ProcessLimits | None = field(default=None, converter=_limits)

    @property
    def argv(self) -> tuple[str | Secret, ...]:
        """Program and arguments as the kernel gets them, but for secrets."""
        program = ("/bin/sh", "-c", self.cmd, "sh", *self.args) if self.shell else (self.cmd, *self.args)
        return program if self.limits is None else ("/bin/sh", "-c", self.limits.shell_line, "sh", *program)

    async def run(self, context: TaskContext) -> str:
        """Run the program to its end.

        Returns:
            Its standard output, capped.

        Raises:
            CommandFailed: it could not be started, or ended with an exit code other than 0 or by a signal. The
                attributes `exit_code` (None if there is none), `signal` (a number or None) and `stderr_tail` tell more.
        """
        child = await self._start(context)
        talk = _Conversation(child, self.stdin, context.write)
        forced = True
        try:
            async with trio.open_nursery() as nursery:
                talk.start(nursery)
                try:
                    await child.wait()
                    forced = False
                finally:
                    with trio.CancelScope(shield=True):  # bounded: every step of `end` is
                        await child.end(talk.drained, forced=forced)
                    talk.stop()
        finally:
            child.close()
        code = child.popen.returncode
        if code != 0:
            raise _exit_failure(self._name, code, talk.errors.text())
        return talk.output.text()

    @property
    def _name(self) -> str:
        """What messages call it. Arguments are left out: they may hold secrets."""
        return repr(self.cmd if len(self.cmd) <= _NAME_CAP else f"{self.cmd[:_NAME_CAP]}...")

    async def _start(self, context: TaskContext) -> processes.Child:
        """Start the process, or tell why it cannot be."""
        scheduled = context.scheduled_for
        env = {
            **os.environ,
            **{name: revealed(value) for name, value in self.env.items()},
            "GOFLOW_JOB": context.job,
            "GOFLOW_EXECUTION_ID": context.execution_id,
            "GOFLOW_TASK": context.task,
            "GOFLOW_ATTEMPT": str(context.attempt),
            "GOFLOW_SCHEDULED_FOR": "" if scheduled is None else scheduled.isoformat(),
            **_item_environment(context),
            **_params_environment(context),
        }
        try:
            return await processes.start(
                tuple(revealed(one) for one in self.argv),
                env=env,
                cwd=self.cwd,
                feed=self.stdin is not None,
            )
        except OSError as error:
            reason = f"{error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})"
            if self.cwd is not None and error.filename == self.cwd:
                reason = f"its working directory {self.cwd!r}: {reason}"
            elif isinstance(error, FileNotFoundError) and not self.shell and " " in self.cmd:
                first, *rest = self.cmd.split()
                reason += f"; a line with arguments is Command({first!r}, {rest}), or for a shell with shell=True"
            raise _failure(f"command {self._name} could not be started: {reason}") from error
        except ValueError as error:  # a lone surrogate, or a NUL in a name
            raise _failure(f"command {self._name} could not be started: {error}") from error


@define(eq=False)
class _Conversation:
    """What is written to and read from a child, until the pipes are at their end or `stop` is called."""

    child: processes.Child
    stdin: bytes | None
    write: Callable[[bytes, str], None]
    output: Kept = field(factory=lambda: Kept(RESULT_HEAD, RESULT_TAIL), init=False)
    errors: Kept = field(factory=lambda: Kept(0, STDERR_TAIL), init=False)
    drained: trio.Event = field(factory=trio.Event, init=False)
    _scopes: list[trio.CancelScope] = field(factory=list, init=False)
    _open: int = field(default=2, init=False)

    def start(self, nursery: trio.Nursery) -> None:
        """Feed and read in tasks of a nursery."""
        if self.child.stdin is not None and self.stdin is not None:
            nursery.start_soon(self._feed, self.child.stdin, self.stdin, self._shield())
        nursery.start_soon(self._pump, self.child.stdout, "stdout", self.output, self._shield())
        nursery.start_soon(self._pump, self.child.stderr, "stderr", self.errors, self._shield())

    def stop(self) -> None:
        """Leave the pipes as they are."""
        for scope in self._scopes:
            scope.cancel()

    def _shield(self) -> trio.CancelScope:
        """Make a scope that only `stop` cancels: the last words of a command that is ended are read as well."""
        scope = trio.CancelScope(shield=True)
        self._scopes.append(scope)
        return scope

    async def _feed(self, stream: trio.lowlevel.FdStream, data: bytes, scope: trio.CancelScope) -> None:
        """Write the standard input and close it; a program that does not read it all is within its rights."""
        with scope:
            async with stream:
                try:
                    await stream.send_all(data)
                except trio.BrokenResourceError:
                    return

    async def _pump(self, stream: trio.lowlevel.FdStream, name: str, kept: Kept, scope: trio.CancelScope) -> None:
        """Read a pipe to its end. The child never waits for more than this loop's turn."""
        with scope:
            try:
                while data := await stream.receive_some(_CHUNK):
                    kept.feed(data)
                    self.write(bytes(data), name)
            finally:
                self._open -= 1
                if not self._open:
                    self.drained.set()


def _exit_failure(name: str, code: int, stderr: str) -> CommandFailed:
    """Tell how a command ended, and its last words."""
    how = f"was ended by signal {_signal_name(-code)}" if code < 0 else f"failed with exit code {code}"
    last = "\n".join(stderr.rstrip().splitlines()[-MESSAGE_LINES:])[-_MESSAGE_CAP:]
    return _failure(
        f"command {name} {how}" + (f"; its standard error ends with:\n{last}" if last else ""),
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        stderr_tail=stderr,
    )


def _failure(
    message: str,
    *,
    exit_code: int | None = None,
    signal: int | None = None,
    stderr_tail: str = "",
) -> CommandFailed:
    """Make the error with its particulars."""
    error = CommandFailed(message)
    vars(error).update(exit_code=exit_code, signal=signal, stderr_tail=stderr_tail)
    return error


def _signal_name(number: int) -> str:
    """Name a signal: `SIGKILL (9)`."""
    try:
        return f"{signal.Signals(number).name} ({number})"
    except ValueError:  # the real-time signals have no names
        return str(number)
