"""What a command may use of the machine: the kernel's limits on a process, which all that it starts inherits.

They are set by /bin/sh between its own start and the program's: before the program's first instruction, and without
Python between fork and exec. See getrlimit(2), and `ulimit` in POSIX.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import Attribute, field, fields, frozen

from goflow_trio.errors import DefinitionError

_BLOCK: Final = 512
"""Bytes in a unit of `ulimit -f`, by POSIX."""

_KIBIBYTE: Final = 1024


def _check(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DefinitionError(
            f"ProcessLimits: {attribute.name} must be a whole number of 1 or more, or None, got {value!r}"
        )


def _limit() -> Any:
    return field(default=None, validator=_check)


@frozen(kw_only=True)
class ProcessLimits:
    """What each process of a command may use. None is what the server itself may.

    Args:
        memory: bytes of address space; more is refused, and most programs then fail with an error of their own.
        cpu_seconds: seconds of computing; then it is ended by SIGXCPU. Waiting does not count: see `Task(timeout=…)`.
        file_size: bytes of a file it writes; then it is ended by SIGXFSZ.
        open_files: file descriptors.
        processes: processes of the *user*, counted over the whole machine; the kernel does not hold root to it.

    Raises:
        DefinitionError: a limit is no whole number, or less than 1.

    Example:
        >>> ProcessLimits(memory=512 * 1024 * 1024, cpu_seconds=60).shell_line
        'ulimit -v 524288 && ulimit -S -t 60 && ulimit -H -t 61 && exec "$@"'
    """

    memory: int | None = _limit()
    cpu_seconds: int | None = _limit()
    file_size: int | None = _limit()
    open_files: int | None = _limit()
    processes: int | None = _limit()

    @property
    def shell_line(self) -> str:
        """What a shell has to run, with the program and its arguments as its own."""
        steps = [
            _STEPS[one.name](value) for one in fields(type(self)) if (value := getattr(self, one.name)) is not None
        ]
        return " && ".join([*steps, 'exec "$@"'])


def _units(size: int, unit: int) -> int:
    """Return a size in units, rounded up."""
    return -(-size // unit)


_STEPS: Final = {
    "memory": lambda value: f"ulimit -v {_units(value, _KIBIBYTE)}",
    # A second between SIGXCPU and SIGKILL: else nobody could tell why it ended.
    "cpu_seconds": lambda value: f"ulimit -S -t {value} && ulimit -H -t {value + 1}",
    "file_size": lambda value: f"ulimit -f {_units(value, _BLOCK)}",
    "open_files": lambda value: f"ulimit -n {value}",
    # What bash calls -u, dash calls -p.
    "processes": lambda value: f"{{ ulimit -u {value} 2>/dev/null || ulimit -p {value}; }}",
}
