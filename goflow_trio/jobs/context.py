"""What a task's work is given while it runs. Pure data and two outlets; it decides nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from goflow_trio.errors import OperatorError


def _ignore_text(_text: str) -> None:
    """Drop the text: a context made by hand has nobody to tell."""


async def _no_engine(job: str, params: Mapping[str, Any]) -> Any:  # noqa: ARG001
    raise OperatorError(f"job {job!r} can only be run inside an engine; a context made by hand has none")


def _ignore_progress(_done: float, _total: float | None) -> None:
    """Drop the progress: a context made by hand has nobody to tell."""


@frozen
class TaskContext:
    """One attempt of one task, as its operator sees it.

    Make one by hand to unit-test an operator: `await operator.run(TaskContext("job", "id", "task"))`.

    Args:
        job: the job's name.
        execution_id: id of the execution this attempt belongs to.
        task: the task's name.
        attempt: which try this is, from 1.
        params: parameters of the execution, defaults of the job filled in.
        results: results of the finished upstream tasks, by task name; of a map, the list of its items' results, None
            for an item that was not successful.
        item: what this attempt is for, in a task that is mapped.
        index: the item's place, from 0; None in a task that is not mapped.
        resources: what the job declares by `Job.resource` and this task uses, open, by name.
        run_job: runs a job as the child of this attempt and returns its results; for `RunJob`, whose attempts are
            made for it.
        scheduled_for: the instant this execution was scheduled for (aware, UTC), None when submitted by hand.
        deadline: on trio's clock (`trio.current_time()`), when this attempt will be cut off; infinite without a
            time-out.
        record: for `on_failure` and `on_success`, the `ExecutionRecord` of the execution that is over: its `state`, its
            `reason`, its tasks with their errors. None in a task.
        waited: of an attempt that only waits and was taken up again after a restart, how many seconds had passed since
            it began; 0 for any other.
        log: writes a line to the task's output; safe to call from a worker thread.
        write: writes bytes to the task's output as they are, see the method.
        progress: tells how far the work is, as (done, total); safe to call from a worker thread.
    """

    job: str
    execution_id: str
    task: str
    attempt: int = 1
    params: Mapping[str, Any] = field(factory=lambda: MappingProxyType({}))
    results: Mapping[str, Any] = field(factory=lambda: MappingProxyType({}))
    scheduled_for: datetime | None = None
    deadline: float = float("inf")
    waited: float = 0.0
    item: Any = None
    index: int | None = None
    resources: Mapping[str, Any] = field(factory=lambda: MappingProxyType({}), repr=False)
    record: Any = field(default=None, repr=False)  # its class is a layer above this one
    run_job: Callable[[str, Mapping[str, Any]], Awaitable[Any]] = field(default=_no_engine, repr=False, eq=False)
    log: Callable[[str], None] = field(default=_ignore_text, repr=False, eq=False)
    _report_progress: Callable[[float, float | None], None] = field(
        default=_ignore_progress, repr=False, eq=False, alias="report_progress"
    )
    _write_output: Callable[[bytes | str, str], None] | None = field(
        default=None, repr=False, eq=False, alias="write_output"
    )

    def write(self, data: bytes | str, stream: str = "stdout") -> None:
        """Write to the task's output, as a program's own streams are: nothing is added, no newline either.

        It returns at once, whatever is written: of a flood the first and the last part are kept. Safe to call from a
        worker thread. On a context made by hand it calls `log`.

        Args:
            data: bytes of any kind, or text.
            stream: `"stdout"`, `"stderr"`, `"log"` or `"error"`.
        """
        if self._write_output is not None:
            self._write_output(data, stream)
        else:
            text = data if isinstance(data, str) else data.decode("utf-8", "replace")
            self.log(text.removesuffix("\n"))

    def progress(self, done: float, total: float | None = None) -> None:
        """Tell how far the work is: `context.progress(3, 10)`. Safe to call from a worker thread.

        Call it as often as you like: of many reports, the last is passed on, a few times a second.
        """
        self._report_progress(done, total)
