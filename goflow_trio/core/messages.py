"""What the parts of the engine say to each other: instructions down, reports up, events out.

- A *report* tells the machine that something happened: an attempt ended, a delay is over, someone wants to cancel.
- An *instruction* tells the shell what to do: run an attempt, wait, cancel an attempt.
- An *event* is a fact in the past tense. The persisted log of events is the truth; records, pages and streams are
  folds of it. An event is a value: it is written once and never changed, except that the log numbers it (`seq`) when it
  takes it in.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from attrs import define, field, fields, frozen

from goflow_trio.core.states import State


@frozen
class TaskError:
    """Why an attempt failed, as data.

    Args:
        type: the exception's class name.
        message: its text.
        traceback: where it was raised; empty when it was not raised by code.
    """

    type: str
    message: str
    traceback: str = ""


# Reports -------------------------------------------------------------------------------------------


@frozen
class AttemptSucceeded:
    """An attempt returned; `result` is already plain data that the codec can store.

    `chosen` is what a branch says: the names of the tasks after it that are to run. None from any other task.
    """

    task: str
    attempt: int
    result: Any = None
    chosen: tuple[str, ...] | None = None


@frozen
class AttemptExpanded:
    """An attempt found what its task is mapped over: plain data that the codec can store, in order."""

    task: str
    attempt: int
    items: tuple[Any, ...]


@frozen
class AttemptSkipped:
    """An attempt found that it has nothing to do: its condition does not hold, or its work said so."""

    task: str
    attempt: int
    reason: str


@frozen
class AttemptFailed:
    """An attempt raised, or was cut off.

    `reason` is `"error"`, `"gave up"` (no retry follows), `"timeout"`, `"abandoned"` or `"definition gone"`.
    """

    task: str
    attempt: int
    error: TaskError
    reason: str = "error"


@frozen
class AttemptCancelled:
    """An attempt ended because it was told to; `reason` is `"abandoned"` if its thread goes on all the same."""

    task: str
    attempt: int
    reason: str = ""


@frozen
class RetryDue:
    """The delay after the failure of `attempt` is over."""

    task: str
    attempt: int


@frozen
class CancelRequested:
    """Someone wants the execution to end; with `force`, without its clean-up tasks too."""

    reason: str
    force: bool = False


@frozen
class TaskCancelRequested:
    """Someone wants one task to end, or never to start; the others go on, by their rules."""

    task: str
    reason: str


@frozen
class SlotGranted:
    """A task that had to wait for a slot has it now. Answered with `RunAttempt`, or else the slot is not needed."""

    task: str


@frozen
class DeadlineReached:
    """The execution has used up its time."""


@frozen
class Decided:
    """Someone approved, or not, what a task asks for."""

    task: str
    approved: bool
    by: str = ""
    comment: str = ""


Report = (
    AttemptSucceeded
    | AttemptExpanded
    | AttemptSkipped
    | AttemptFailed
    | AttemptCancelled
    | RetryDue
    | Decided
    | CancelRequested
    | TaskCancelRequested
    | SlotGranted
    | DeadlineReached
)


# Instructions --------------------------------------------------------------------------------------


@frozen
class RunAttempt:
    """Run the task's work; answer with `AttemptSucceeded`, `AttemptSkipped`, `AttemptFailed` or `AttemptCancelled`.

    One that `waits` holds no slot, and may be told again after a restart: the same attempt goes on. `seconds` is what
    is left of the task's time, all attempts together; None is no such limit.
    """

    task: str
    attempt: int
    waits: bool = False
    seconds: float | None = None


@frozen
class WaitForRetry:
    """Answer with `RetryDue` after `seconds`; siblings go on meanwhile."""

    task: str
    attempt: int
    seconds: float


@frozen
class CancelAttempt:
    """End a running attempt; it answers as any attempt, most likely with `AttemptCancelled`."""

    task: str
    attempt: int


Instruction = RunAttempt | WaitForRetry | CancelAttempt


# Events --------------------------------------------------------------------------------------------


@define
class Event:
    """A fact. Every event says when, of which job, and (if it has one) of which execution and task it is.

    Args:
        at: when it happened (aware, UTC).
        job: the job's name.
        execution: the execution's id; empty for events of a schedule.
        version: number of this event within its execution, from 1, without gaps; 0 for events that are not part
            of an execution's record.
        task: the task's name; empty when it is about the whole.
        attempt: the attempt's number, from 1; 0 when it is about none.

    Attributes:
        seq: position in the log, from 1, strictly rising; 0 until the log has taken it in. An event that is
            live only (output, progress) carries the position it came after.
    """

    type: ClassVar[str] = ""
    live_only: ClassVar[bool] = False

    at: datetime
    job: str
    execution: str = ""
    version: int = 0
    task: str = ""
    attempt: int = 0
    seq: int = field(default=0, init=False, eq=False)

    def payload(self) -> dict[str, Any]:
        """Return the fields that only events of this type have, by name."""
        return {name: getattr(self, name) for name in PAYLOAD_FIELDS[self.type]}


@define
class ExecutionSubmitted(Event):
    """An execution exists; nothing of it has run."""

    type: ClassVar[str] = "execution.submitted"
    tasks: tuple[str, ...] = ()
    params: dict[str, Any] = field(factory=dict)
    scheduled_for: datetime | None = None
    definition: str = ""  # digest of the graph it runs on
    trigger: str = "manual"
    parent: str = ""  # the execution whose task runs this one
    parent_task: str = ""
    by: str = ""


@define
class ExecutionStarted(Event):
    """Its first tasks may run."""

    type: ClassVar[str] = "execution.started"


@define
class ExecutionCancelling(Event):
    """It was told to end, or its time is up: tasks end, clean-up runs, then it is finished."""

    type: ClassVar[str] = "execution.cancelling"
    reason: str = ""
    state: State = State.CANCELLED  # what it will be once all is done
    forced: bool = False  # clean-up is ended too


@define
class ExecutionFinished(Event):
    """All its tasks ended."""

    type: ClassVar[str] = "execution.finished"
    state: State = State.SUCCESSFUL
    reason: str = ""


@define
class ExecutionReopened(Event):
    """It was over and is to be started once more: `tasks` begin anew, the others stay as they ended."""

    type: ClassVar[str] = "execution.reopened"
    tasks: tuple[str, ...] = ()
    by: str = ""
    reason: str = ""
    start: str = ""  # "start" if everything begins anew


@define
class TaskStarted(Event):
    """An attempt runs; or it waits, holding no slot, for what `waiting` names and `reason` tells."""

    type: ClassVar[str] = "task.started"
    waiting: str = ""
    reason: str = ""
    child: str = ""  # the execution that it runs and waits for


@define
class TaskExpanded(Event):
    """The task is mapped over these items: for each there is a task of its own now, `name[0]`, `name[1]` and so on.

    It goes on until they have ended, and counts as they do.
    """

    type: ClassVar[str] = "task.expanded"
    items: tuple[Any, ...] = ()


@define
class TaskSucceeded(Event):
    """The task is successful."""

    type: ClassVar[str] = "task.succeeded"
    result: Any = None
    chosen: tuple[str, ...] | None = None  # by a branch: the tasks after it that are to run


@define
class TaskFailed(Event):
    """The task failed for good."""

    type: ClassVar[str] = "task.failed"
    error: TaskError | None = None
    reason: str = ""


@define
class TaskRetryScheduled(Event):
    """The attempt failed; another follows at `retry_at`.

    `spared` says that it did not use up a retry (an idempotent task cut by a crash).
    """

    type: ClassVar[str] = "task.retry_scheduled"
    error: TaskError | None = None
    reason: str = ""
    retry_at: datetime | None = None
    spared: bool = False


@define
class TaskSkipped(Event):
    """The task will not run: its trigger rule, a branch before it, its condition or its own work said so."""

    type: ClassVar[str] = "task.skipped"
    reason: str = ""


@define
class TaskCancelled(Event):
    """The task was cancelled, before or while it ran."""

    type: ClassVar[str] = "task.cancelled"
    reason: str = ""


@define
class TaskOutput(Event):
    """The work printed something. Live only.

    Of a flood only a part is told: what is between `offset + size` of one event and `offset` of the next was left out,
    and can be read from what is kept.
    """

    type: ClassVar[str] = "task.output"
    live_only: ClassVar[bool] = True
    text: str = ""  # as it was printed, newlines included
    stream: str = "log"  # one of `core.output.STREAMS`
    offset: int = 0  # where it begins in the output of the attempt, in bytes
    size: int = 0  # its bytes there


@define
class TaskProgress(Event):
    """The work is so far. Live only."""

    type: ClassVar[str] = "task.progress"
    live_only: ClassVar[bool] = True
    done: float = 0
    total: float | None = None


@define
class ScheduleToggled(Event):
    """The schedule of a job was switched on or off.

    Switched off, it may say until when: then it goes on by itself. Switched on, instants up to `since` (the event's own
    time by default) are nobody's debt.
    """

    type: ClassVar[str] = "schedule.toggled"
    active: bool = False
    until: datetime | None = None
    since: datetime | None = None
    reason: str = ""
    by: str = ""


@define
class ScheduleStarted(Event):
    """The schedule of a job is watched from now on: instants before do not count.

    It happens when a job is first seen, and when the clock was set back.
    """

    type: ClassVar[str] = "schedule.started"
    reason: str = ""


@define
class ScheduleMissed(Event):
    """Instants passed without a run of their own, and why. `count` instants, from `first` to `last`.

    `cause` is one word for programs: `misfire` (nobody watched), `overlap`, or `queue` (too many wait).
    """

    type: ClassVar[str] = "schedule.missed"
    first: datetime | None = None
    last: datetime | None = None
    count: int = 1
    reason: str = ""
    cause: str = ""


@define
class BackfillStarted(Event):
    """A job is run for the `count` instants from `since` to before `until`, `limit` at once."""

    type: ClassVar[str] = "backfill.started"
    backfill: str = ""
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 1
    count: int = 0
    by: str = ""


@define
class BackfillFinished(Event):
    """A backfill is over: `reason` is `done` or `cancelled`."""

    type: ClassVar[str] = "backfill.finished"
    backfill: str = ""
    reason: str = ""
    by: str = ""


@define
class FeedReset(Event):
    """To one subscriber only: events between its position and `seq` are no longer kept; read the state anew."""

    type: ClassVar[str] = "reset"
    live_only: ClassVar[bool] = True
    reason: str = ""


EVENT_TYPES: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        ExecutionSubmitted,
        ExecutionStarted,
        ExecutionCancelling,
        ExecutionFinished,
        ExecutionReopened,
        TaskStarted,
        TaskExpanded,
        TaskSucceeded,
        TaskFailed,
        TaskRetryScheduled,
        TaskSkipped,
        TaskCancelled,
        TaskOutput,
        TaskProgress,
        ScheduleToggled,
        ScheduleStarted,
        ScheduleMissed,
        BackfillStarted,
        BackfillFinished,
        FeedReset,
    )
}
"""Every kind of event, by its name on the wire."""

PAYLOAD_FIELDS: dict[str, tuple[str, ...]] = {
    name: tuple(f.name for f in fields(kind))[len(fields(Event)) :] for name, kind in EVENT_TYPES.items()
}
"""The fields that only events of a type have, by the type's name."""
