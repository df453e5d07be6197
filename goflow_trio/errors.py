"""The error tree: grouped by who can mend it.

- `DefinitionError`: whoever wrote the job. Raised when a job is made or registered. Also a `ValueError`.
- `NotFound`: whoever asked. A job, task or execution of that name does not exist. Also a `LookupError`.
- `UsageError`: whoever started the program: a bad URL, port, target or parameter. Also a `ValueError`.
- `StoreError`: whoever runs the machine. `StoreUnavailable` passes by itself and is retried.
- `OperatorError`: whoever wrote the task's work; it becomes the task's error and goes no further.
- `InvalidTransition`: us. It is a bug in goflow-trio, and it carries the story that led to it.

A message names the thing, the rule and the mend. Drivers' own exceptions never leave `stores/`, `operators/` or
`executors/`.
"""

from __future__ import annotations


class GoflowError(Exception):
    """The root of everything this package raises on purpose."""


# --- The definition -------------------------------------------------------------------------------


class DefinitionError(GoflowError, ValueError):
    """A job, task or schedule is wrong as written; nothing of it was registered."""


class CycleError(DefinitionError):
    """The tasks of a job wait for each other, or jobs follow each other.

    Args:
        job: the job's name.
        path: the names of the tasks, or jobs, along the cycle; the first is repeated at the end.
        fault: what is wrong, in words.
    """

    def __init__(self, job: str, path: list[str], fault: str = "its tasks form a cycle") -> None:
        super().__init__(f"job {job!r}: {fault}: {' -> '.join(path)}; remove one of these edges")
        self.job = job
        self.path = path


class ScheduleError(DefinitionError):
    """A schedule cannot be read, or can never fire."""


# --- The question ---------------------------------------------------------------------------------


class NotFound(GoflowError, LookupError):
    """Something was asked for by a name or id that nothing has."""


class UnknownJob(NotFound):
    """No job of this name is registered."""


class UnknownExecution(NotFound):
    """No execution has this id."""


class UnknownTask(NotFound):
    """The job has no task of this name."""


# --- The invocation -------------------------------------------------------------------------------


class UsageError(GoflowError, ValueError):
    """The program was started or called with something it cannot use."""


class ParamsError(UsageError):
    """Parameters of an execution are unknown, missing or of the wrong type; nothing was submitted.

    Args:
        job: the job's name.
        fields: what is wrong, by parameter; under the empty name what is about all of them together.
    """

    def __init__(self, job: str, fields: dict[str, str]) -> None:
        texts = [text if text.startswith("job ") else f"job {job!r}: {text}" for text in fields.values()]
        super().__init__("; ".join(texts))
        self.job = job
        self.fields = fields


class WrongState(UsageError):
    """What was asked does not fit the state something is in: it runs already, or it is over."""


class EngineClosed(GoflowError):
    """The engine is shutting down and takes no more work."""


class Overloaded(GoflowError):
    """A documented limit of `core/limits.py` is reached; try again later."""


class EngineDraining(Overloaded):
    """The engine finishes what it has begun and takes on nothing new, until it is told to, or started anew."""


class TooManySubscribers(Overloaded):
    """As many subscriptions are open as there may be."""


# --- The environment ------------------------------------------------------------------------------


class StoreError(GoflowError):
    """The store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store does not answer now; the same operation may be repeated and is idempotent."""


class StoreFull(StoreUnavailable):
    """The store has no room left; it takes writes again once there is."""


class StoreReadOnly(StoreUnavailable):
    """The store answers, and takes no writes: a read-only disk, or a replica that is not the primary."""


class StoreInUse(StoreError):
    """Another engine holds the store; its message names it. Two never write to one store."""


class StoreFenced(StoreError):
    """Another engine took the store over from this one, which must stop: it can no longer write."""


class StoreClosed(StoreError):
    """The backend was used after `aclose`."""


class StoreIncompatible(StoreError):
    """The store holds something that is not ours, or is written by a newer version. It was left untouched."""


class CodecError(StoreError):
    """Bytes from the store are not what was written: damaged, truncated, or of an unknown version."""


# --- The work -------------------------------------------------------------------------------------


class OperatorError(GoflowError):
    """A shipped operator could not do its work."""


class Skip(GoflowError):
    """Raised by a task's work: there is nothing to do, the task is to be skipped. `raise Skip("no new files")`."""


class GiveUp(GoflowError):
    """Raised by a task's work: trying again is of no use. The task fails, whatever retries it has left.

    `raise GiveUp("there is no such customer")`, or `raise GiveUp("…") from error`.
    """


class JobFailed(OperatorError):
    """The job that a `RunJob` waited for did not end successful."""


class WorkerLost(OperatorError):
    """The process or machine where an executor ran the work died; whether the work was done is not known."""


class ExecutorUnavailable(OperatorError):
    """An executor takes no work: it cannot be reached, or is shut down."""


class CommandFailed(OperatorError):
    """A command ended with an exit code other than 0, by a signal, or could not be started.

    Attributes:
        exit_code: what it ended with; None if a signal ended it or it never started.
        signal: number of the signal that ended it, if one did.
        stderr_tail: the end of what it wrote to its standard error.
    """

    exit_code: int | None = None
    signal: int | None = None
    stderr_tail: str = ""


class RequestFailed(OperatorError):
    """An HTTP request got no answer, or an answer outside 2xx.

    Attributes:
        status: the status of the answer; None if there was none.
    """

    status: int | None = None


# --- A bug of ours --------------------------------------------------------------------------------


class InvalidTransition(GoflowError):
    """The core was driven into a change that the state table forbids.

    Args:
        message: what was attempted.
        story: the events of the execution so far, oldest first.
    """

    def __init__(self, message: str, story: list[str]) -> None:
        super().__init__("\n  ".join([message, "what led to it:", *story]))
        self.story = story
