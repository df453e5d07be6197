"""How a call travels to another process, and its outcome back: as bytes, whatever carries them.

`pack` makes bytes of a call and a plain copy of its context; `run_packed` is what the worker calls with them, and
returns bytes again; `unpack` makes a result or an exception of those. One set of rules holds for all executors:

- What the call prints, logs and tells its context is collected in the worker, bounded as all output is, and comes back
  with the outcome. So it is lost with the worker.
- An exception comes back as itself, with the traceback of the worker as its cause. One that cannot travel comes back
  under its name.
- Pickling is cloudpickle's where it is installed (the extras bring it), and lambdas travel too. A module that a worker
  could not import by its name, such as a file of jobs, travels by value.
"""

from __future__ import annotations

import importlib.machinery
import pickle  # bytes of our own workers, whom we let run our code anyway
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from threading import Lock
from types import MappingProxyType
from typing import Any, Final

import trio
from attrs import asdict, fields, frozen

from goflow_trio.core.output import STREAMS, KeptOutput
from goflow_trio.errors import DefinitionError, OperatorError
from goflow_trio.executors.base import check_plain
from goflow_trio.jobs.context import TaskContext
from goflow_trio.operators.base import Prepared
from goflow_trio.operators.logs import current_output, task_logging

_TRAVELS: Final = ("job", "execution_id", "task", "attempt", "scheduled_for", "waited", "item", "index")
"""What of a context goes along as it is."""


class RemoteTraceback(Exception):
    """The traceback of an exception in the process where it was raised; the cause of the one that came back."""


class RemoteError(OperatorError):
    """Stands for an exception that cannot travel; its class is named as that one's."""


@frozen
class _Outcome:
    """What comes back.

    Args:
        value: the result; nothing when there is an error.
        error: the exception, pickled on its own: its class may be unknown here.
        name: the name of the exception's class.
        message: its text.
        traceback: its traceback, there; empty for a result.
        output: what was printed, as (stream, bytes) in order.
    """

    value: Any = None
    error: bytes = b""
    name: str = ""
    message: str = ""
    traceback: str = ""
    output: tuple[tuple[str, bytes], ...] = ()


# Here ---------------------------------------------------------------------------------------------


def check_travels(work: Prepared, task: str) -> None:
    """Refuse work that cannot be sent to another process.

    Raises:
        DefinitionError: it is async, or cannot be pickled.
    """
    check_plain(work, task)
    try:
        _dumps(work.call, of=work.call)
    except Exception as error:  # noqa: BLE001  # pickling runs the user's code
        raise DefinitionError(
            f"task {task!r}: its work cannot be sent to another process: {_one_line(error)}; use a function of a"
            " module, and open files, locks and connections inside of it"
        ) from None


def pack(work: Prepared, context: TaskContext) -> bytes:
    """Return a call as bytes for `run_packed`.

    Raises:
        OperatorError: parameters or results of upstream tasks cannot be pickled.
    """
    carried = {name: getattr(context, name) for name in _TRAVELS}
    carried["deadline"] = context.deadline - trio.current_time()  # the worker has a clock of its own
    carried["params"] = _plain(context.params)
    carried["results"] = _plain(context.results)
    try:
        return _dumps((work.call, work.takes_context, carried), of=work.call)
    except Exception as error:
        raise OperatorError(
            f"this attempt cannot be sent to another process, as its parameters or results of upstream tasks cannot be"
            f" pickled: {_one_line(error)}; pass plain data"
        ) from error


def unpack(data: bytes, context: TaskContext) -> Any:
    """Pass on what was printed; return the result, or raise what the call raised."""
    outcome = _Outcome(**pickle.loads(data))  # noqa: S301  # of our own worker
    for stream, text in outcome.output:
        context.write(text, stream)
    if not outcome.name:
        return pickle.loads(outcome.value)  # noqa: S301
    raise _revived(outcome) from RemoteTraceback(outcome.traceback)


def _revived(outcome: _Outcome) -> BaseException:
    """Return the exception, or one that stands for it."""
    try:
        error = pickle.loads(outcome.error)  # noqa: S301
    except Exception:  # noqa: BLE001  # its class is the user's, and may not exist here
        error = None
    if isinstance(error, BaseException):
        return error
    stand_in: BaseException = type(outcome.name, (RemoteError,), {})(outcome.message)
    return stand_in


def _plain(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a mapping that can be pickled; a class of parameters stays one."""
    return dict(mapping) if isinstance(mapping, MappingProxyType) else mapping


# There --------------------------------------------------------------------------------------------


def run_packed(data: bytes) -> bytes:
    """Call what was packed, in the worker; return the outcome as bytes. Raises nothing."""
    collected = _Collected()
    token = current_output.set(collected)
    try:
        with task_logging():
            outcome = _outcome(data, collected)
    finally:
        current_output.reset(token)
    collected.closed = True
    return pickle.dumps({**asdict(outcome, recurse=False), "output": tuple(collected.pieces())})


def _outcome(data: bytes, collected: _Collected) -> _Outcome:
    try:
        call, takes_context, carried = pickle.loads(data)  # noqa: S301  # of our own engine
    except BaseException as error:  # noqa: BLE001, ASYNC103  # importing the user's module may do anything
        reason = OperatorError(
            f"the worker cannot load the work: {_one_line(error)}; what it imports must be there too"
        )
        return _failed(reason.with_traceback(error.__traceback__))
    context = TaskContext(**carried, log=collected.log, write_output=collected.write)
    try:
        value = call(context) if takes_context else call()
    except BaseException as error:  # noqa: BLE001, ASYNC103  # SystemExit too: it is the work's, and not the worker's
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next or error.__traceback__  # begin at the work
        return _failed(error)
    try:
        return _Outcome(_dumps(value, of=call))
    except Exception as error:  # noqa: BLE001
        kind = type(value).__name__
        return _failed(OperatorError(f"the result, of type {kind}, cannot be sent back: {_one_line(error)}"))


def _failed(error: BaseException) -> _Outcome:
    text = "".join(traceback.format_exception(error))
    try:
        data = pickle.dumps(error)
        pickle.loads(data)  # noqa: S301  # an exception with arguments of its own often cannot be made again
    except Exception:  # noqa: BLE001
        data = b""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001
        message = "(its text could not be made)"
    return _Outcome(error=data, name=type(error).__name__, message=message, traceback=text)


class _Collected:
    """Takes what one call prints, from any of its threads."""

    def __init__(self) -> None:
        self.closed = False
        self._lock = Lock()
        self._kept = KeptOutput()

    def write(self, data: bytes | str, stream: str = "stdout") -> None:
        """Take the next bytes."""
        taken = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
        with self._lock:
            self._kept.write(taken, STREAMS.index(stream), int(time.time() * 1000))

    def log(self, text: str) -> None:
        """Take lines of text."""
        text = str(text)
        self.write(text if text.endswith("\n") else text + "\n", "log")

    def pieces(self) -> Iterator[tuple[str, bytes]]:
        """Give what is kept, in order; a gap is told."""
        end = 0
        with self._lock:
            for block in self._kept.blocks:
                if block.start > end:
                    yield "log", f"\n[... {block.start - end:,} bytes were dropped by the worker ...]\n".encode()
                end = block.end
                for piece in block.pieces(block.start, block.end):
                    begin = piece.offset - block.start
                    yield piece.stream, bytes((block.data or b"")[begin : begin + piece.size])


# Both ---------------------------------------------------------------------------------------------


def _dumps(value: Any, *, of: Any) -> bytes:
    """Pickle; with cloudpickle, if there is one.

    Args:
        value: what to pickle.
        of: the work: its module goes along by value where a worker could not import it.
    """
    try:
        import cloudpickle  # noqa: PLC0415  # comes with the extras
    except ImportError:
        return pickle.dumps(value)
    module = sys.modules.get(_module_of(of))
    if module is not None and not _is_importable(module.__name__):
        cloudpickle.register_pickle_by_value(module)
    data: bytes = cloudpickle.dumps(value)
    return data


def _module_of(call: Any) -> str:
    while hasattr(call, "func"):  # functools.partial
        call = call.func
    owner = getattr(call, "__self__", call)  # of a bound method: its object, whose class has a module
    return str(getattr(owner if owner is not None else call, "__module__", ""))


def _is_importable(name: str) -> bool:
    """Whether another process finds a module by its name, as this one did; `__main__` is cloudpickle's own affair."""
    top = name.partition(".")[0]
    return (
        top in sys.builtin_module_names
        or top == "__main__"
        or importlib.machinery.PathFinder.find_spec(top) is not None
        or top in getattr(sys, "stdlib_module_names", ())
    )


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


assert set(_TRAVELS) <= {field.name for field in fields(TaskContext)}
