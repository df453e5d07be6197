"""The shape of every answer of the API, in Goflow's names and ours. `wire` fills them, OpenAPI describes them.

A field's order here is its order on the wire. Goflow's fields come first and are never renamed; ours are added behind.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from goflow_trio.core.states import State

Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""An instant in RFC 3339, UTC, with the zeros at the end of its fraction cut."""

Maybe = Timestamp | None

Instant = Annotated[datetime, Meta(tz=True)]
"""An instant in a request: with its offset from UTC, or `Z`."""


Cursor = Annotated[
    str,
    Meta(
        pattern="^([0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12})?$",
        description="the `next` of the page before",
    ),
]
"""Where a page begins. Any other text would be compared as an id is, and answered with the first page or none."""


class Problem(Struct):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: dict[str, str] | UnsetType = UNSET


class HealthCause(Struct):
    """One thing that is wrong: what kind, what exactly, since when. `blocks`: no work is taken because of it."""

    name: str
    detail: str
    blocks: bool
    since: str | UnsetType = UNSET


class Health(Struct):
    """`OK`, or how it is else, and why, the worst cause first.

    `draining` (it takes on nothing new), `degraded`, `stalled` (the store does not answer) or `read-only`.
    `threads_abandoned`, if there are any, run although their attempt was cut off: a thread cannot be stopped.
    """

    health: str
    cause: str | UnsetType = UNSET
    causes: list[HealthCause] | UnsetType = UNSET
    threads_abandoned: int | UnsetType = UNSET


class Ready(Struct):
    """Whether the server does its work at the moment, and why not."""

    ready: bool
    cause: str | None


class Jobs(Struct):
    """The names of the jobs, in the order they were registered."""

    jobs: list[str]


class JobDetails(Struct, rename="camel"):
    """One job. `dag` gives each task's downstream tasks, `paramsSchema` its parameters as JSON Schema."""

    job: str
    tasks: list[str]
    dag: dict[str, list[str]]
    schedule: str
    active: bool
    timezone: str
    description: str
    owner: str
    tags: list[str]
    params: dict[str, Any]
    params_schema: dict[str, Any]
    groups: dict[str, list[str]]


class UnknownJobDetails(Struct):
    """Goflow's answer for a job it does not know."""

    job: str = ""
    tasks: None = None
    dag: None = None
    schedule: str = ""
    active: bool = False


class Moment(Struct):
    """A scheduled instant, as clocks in the job's zone show it; `note` tells what they do that day, if anything."""

    utc: Timestamp
    local: str
    note: str | None


class Upcoming(Struct):
    """The next instants of a job's schedule, and the schedule in plain English."""

    job: str
    active: bool
    next: list[Timestamp]
    schedule: str
    timezone: str
    description: str
    instants: list[Moment]


class Submitted(Struct):
    """Goflow's answer to a submit, and the execution's id. `submitted` is empty where there is no such job."""

    job: str
    success: bool
    submitted: str
    id: str | UnsetType = UNSET
    by: str | UnsetType = UNSET


class Toggled(Struct):
    """Whether a schedule is switched on now."""

    job: str
    success: bool
    active: bool


class TaskSummary(Struct):
    """Where one task of an execution stands."""

    name: str
    state: State


class Execution(Struct, rename="camel"):
    """An execution as listings and `/stream` give it."""

    id: str
    job: str
    submitted: Timestamp
    modified_timestamp: Timestamp
    state: State
    tasks: list[TaskSummary]
    trigger: str
    scheduled_for: Maybe
    started: Maybe
    finished: Maybe
    reason: str
    by: str


class Executions(Struct):
    """Executions, newest first. `next` is the cursor of the following page, there where a `limit` was given."""

    executions: list[Execution]
    next: str | UnsetType | None = UNSET


class Failure(Struct):
    """Why an attempt failed."""

    type: str
    message: str
    traceback: str


class Attempt(Struct):
    """One try of a task. `child` is the id of the execution that it ran and waited for, or empty."""

    number: int
    state: State
    started: Timestamp
    finished: Maybe
    error: Failure | None
    reason: str
    child: str


class TaskDetails(Struct, rename="camel"):
    """One task of an execution. `result` is whatever it returned.

    `waiting` is empty, or what its attempt waits for without holding a slot: `sleep`, `condition`, `approval` (it wants
    an answer), `job`; `reason` tells it in words. `items` is how many items a mapped task has, once that is known; an
    item tells by `mappedFrom` whose it is, and by `index` and `item` which.
    """

    name: str
    state: State
    attempt: int
    started: Maybe
    finished: Maybe
    retry_at: Maybe
    result: Any
    error: Failure | None
    reason: str
    waiting: str
    items: int | None
    mapped_from: str
    index: int | None
    item: Any
    attempts: list[Attempt]


class Reopening(Struct):
    """That an execution ran again after its end: when, who asked for it and why, and which tasks began anew."""

    at: Timestamp
    by: str
    reason: str
    tasks: list[str]


class ExecutionDetails(Struct, rename="camel"):
    """An execution with all that is known of it."""

    id: str
    job: str
    submitted: Timestamp
    modified_timestamp: Timestamp
    state: State
    tasks: list[TaskDetails]
    trigger: str
    scheduled_for: Maybe
    started: Maybe
    finished: Maybe
    reason: str
    by: str
    params: dict[str, Any]
    reopenings: list[Reopening]
    parent: str
    parent_task: str


class RunTasks(Struct):
    """The states of tasks, by name."""

    state: dict[str, State]


class RunState(Struct):
    """The states of an execution and its tasks."""

    job: State
    tasks: RunTasks


class JobRun(Struct):
    """An execution as Goflow's older route gives it."""

    job: str
    submitted: Timestamp
    state: RunState


class JobRuns(Struct):
    """Executions, as Goflow's older route lists them."""

    jobruns: list[JobRun]


class Batch(Struct):
    """What a batch of submits began, in its order."""

    executions: list[Submitted]


class Durations(Struct):
    """How long something took, in seconds; percentiles are values that occurred."""

    count: int
    mean: float
    median: float
    p95: float
    longest: float


class TaskStats(Struct):
    """One task over several executions. `durations` are those of its successful tries."""

    states: dict[State, int]
    attempts: int
    retried: int
    durations: Durations | None


class Stats(Struct, rename="camel"):
    """The latest executions of a job together.

    `successRate` is the share of successful ones among those that succeeded or failed; `durations` are those of the
    successful ones.
    """

    job: str
    executions: int
    oldest: Maybe
    states: dict[State, int]
    success_rate: float | None
    durations: Durations | None
    tasks: dict[str, TaskStats]


class LogMark(Struct):
    """From this line on, until the next mark: when it began to arrive, and from where (`stdout`, `stderr`, `log` …)."""

    line: int
    at: Timestamp
    stream: str


class Log(Struct, rename="camel"):
    """A part of what an attempt printed.

    `kept` are the ranges of bytes that can be read: one, or where the middle of a flood is gone, two. `line` is the
    number of the line that `offset` is in, from 1, among the lines that are kept. `text` has the replacement character
    for what is no UTF-8; ask with `format=text` for the bytes themselves. `marks` tell when its lines came and from
    which stream, where that changes and once a second at most; of more than 2,000 the last ones.
    """

    attempt: int
    offset: int
    next_offset: int
    total: int
    kept: list[Annotated[list[int], Meta(min_length=2, max_length=2)]]
    truncated: bool
    finished: bool
    line: int
    text: str
    marks: list[LogMark]


class LogHit(Struct):
    """A line that was found: its number among the lines that are kept, where it begins, and its text, cut if long."""

    line: int
    offset: int
    text: str


class LogHits(Struct):
    """Lines with a text in them, in order. `total` were found, `hits` are the first of them."""

    attempt: int
    total: int
    truncated: bool
    finished: bool
    hits: list[LogHit]


class Approval(Struct):
    """An answer that was given to a task."""

    execution: str
    task: str
    approved: bool
    by: str


class Schedule(Struct, rename="camel"):
    """Whether a schedule is switched on; if not, when it goes on by itself."""

    job: str
    active: bool
    paused_until: Maybe


class Wait(Struct, rename="camel"):
    """What one task waits for.

    `reason` is `upstream`, `retry`, `slot`, `execution`, `engine`, or what a task that only waits says: `sleep`,
    `condition`, `approval`, …. `heldBy` are tasks as `execution/task`, or executions, that are in the way.
    """

    task: str
    reason: str
    detail: str
    held_by: list[str]
    until: Maybe


class Limit(Struct, rename="camel"):
    """One limit of what runs at once: its slots, how many are taken, and how many tasks or executions wait for some.

    `heldBy` are the first who hold some: a task as `execution/task`, an execution by its id.
    """

    name: str
    capacity: int
    used: int
    waiting: int
    held_by: list[str]


class Limits(Struct):
    """All limits: the engine's, the pools', the jobs'."""

    limits: list[Limit]


class Waits(Struct):
    """What the tasks of an execution wait for, in the order of the job."""

    waiting: list[Wait]


class Backfill(Struct):
    """A job run for past instants of its schedule, from `since` to before `until`, and how far that is.

    `total` instants are in the range, `present` of them had an execution already.
    """

    id: str
    job: str
    since: Timestamp
    until: Timestamp
    limit: int
    by: str
    state: str
    total: int
    present: int
    submitted: int
    successful: int
    failed: int


class Backfills(Struct):
    """Backfills, the newest last."""

    backfills: list[Backfill]


class Receipt(Struct):
    """What a cancel ended, once nothing of it is left running.

    `killed` of the `processes` did not end when told to; `threads_abandoned` cannot be stopped and still run.
    """

    tasks: int
    processes: int
    killed: int
    threads_abandoned: int
    seconds: float


class FeedEvent(Struct, omit_defaults=True):
    """An event of the feed, without the fields that only its type has. `seq` is its position in the log."""

    seq: int
    at: Timestamp
    type: str
    execution: str = ""
    job: str = ""
    task: str = ""
    attempt: int = 0
