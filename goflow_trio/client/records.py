"""What a server answers, as values. Fields that a newer server adds are ignored; most have defaults for an older one.

States are the words of `goflow_trio.State`, and compare equal to them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

Dict = dict[str, Any]


class Answer(Struct, frozen=True, rename="camel"):
    """Base of all: names on the wire are in camelCase."""


class HealthCause(Answer, frozen=True):
    """One thing that is wrong, since when. `blocks`: no work is taken because of it."""

    name: str
    detail: str = ""
    blocks: bool = False
    since: datetime | None = None


class Health(Answer, frozen=True):
    """`OK`, `draining`, `degraded`, `stalled` or `read-only`, and why, the worst cause first.

    `threads_abandoned` run although their attempt was cut off: a thread cannot be stopped.
    """

    health: str
    cause: str = ""
    causes: list[HealthCause] = []
    threads_abandoned: int = field(default=0, name="threads_abandoned")


class Session(Answer, frozen=True):
    """Who the server takes you for, and what you may do: `read`, or `operate`."""

    name: str
    role: str
    expires: datetime | None = None
    authentication: bool = True


class Job(Answer, frozen=True):
    """One job. `dag` gives each task's downstream tasks, `params_schema` its parameters as JSON Schema."""

    name: str = field(name="job")
    tasks: list[str]
    dag: dict[str, list[str]]
    schedule: str
    active: bool
    timezone: str = "UTC"
    description: str = ""
    owner: str = ""
    tags: list[str] = []
    params: Dict = {}
    params_schema: Dict = {}
    groups: dict[str, list[str]] = {}


class Task(Answer, frozen=True):
    """Where one task of an execution stands."""

    name: str
    state: str


class Failure(Answer, frozen=True):
    """Why an attempt failed."""

    type: str
    message: str
    traceback: str = ""


class Attempt(Answer, frozen=True):
    """One try of a task. `child` is the id of the execution that it ran and waited for, if it did."""

    number: int
    state: str
    started: datetime
    finished: datetime | None = None
    error: Failure | None = None
    reason: str = ""
    child: str = ""


class TaskDetails(Task, frozen=True):
    """One task of an execution, with its attempts and its result."""

    attempt: int = 0
    started: datetime | None = None
    finished: datetime | None = None
    retry_at: datetime | None = None
    result: Any = None
    error: Failure | None = None
    reason: str = ""
    waiting: str = ""
    items: int | None = None
    mapped_from: str = ""
    index: int | None = None
    item: Any = None
    attempts: list[Attempt] = []


class Execution(Answer, frozen=True):
    """An execution, as listings give it."""

    id: str
    job: str
    submitted: datetime
    modified: datetime = field(name="modifiedTimestamp")
    state: str
    tasks: list[Task] = []
    trigger: str = ""
    scheduled_for: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    reason: str = ""
    by: str = ""


class Reopening(Answer, frozen=True):
    """That an execution ran again after its end: when, who asked for it and why, and which tasks began anew."""

    at: datetime
    by: str = ""
    reason: str = ""
    tasks: list[str] = []


class ExecutionDetails(Answer, frozen=True):
    """An execution with all that is known of it. `parent` is the execution whose `parent_task` began it, if one did."""

    id: str
    job: str
    submitted: datetime
    modified: datetime = field(name="modifiedTimestamp")
    state: str
    tasks: list[TaskDetails] = []
    trigger: str = ""
    scheduled_for: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    reason: str = ""
    by: str = ""
    params: Dict = {}
    reopenings: list[Reopening] = []
    parent: str = ""
    parent_task: str = ""

    def __getitem__(self, task: str) -> TaskDetails:
        """Return a task by name."""
        for found in self.tasks:
            if found.name == task:
                return found
        raise KeyError(task)


class Submitted(Answer, frozen=True):
    """A submit that is durable."""

    id: str
    job: str
    submitted: datetime
    by: str = ""


class Receipt(Answer, frozen=True):
    """What a cancel ended, once nothing of it is left running; see `goflow_trio.CancelReceipt`."""

    tasks: int
    seconds: float
    processes: int = 0
    killed: int = 0
    threads_abandoned: int = field(default=0, name="threads_abandoned")


class Wait(Answer, frozen=True):
    """What one task waits for, and who is in the way; see `goflow_trio.Waiting`."""

    task: str
    reason: str
    detail: str
    held_by: list[str] = []
    until: datetime | None = None


class Waits(Answer, frozen=True):
    """What the tasks of an execution wait for."""

    waiting: list[Wait]


class Schedule(Answer, frozen=True):
    """Whether a schedule is switched on; if not, when it goes on by itself."""

    job: str
    active: bool
    paused_until: datetime | None = None


class Backfill(Answer, frozen=True):
    """A job run for past instants of its schedule, and how far that is: of `total` instants `present` had a run."""

    id: str
    job: str
    since: datetime
    until: datetime
    state: str = "running"
    limit: int = 1
    by: str = ""
    total: int = 0
    present: int = 0
    submitted: int = 0
    successful: int = 0
    failed: int = 0


class Ready(Answer, frozen=True):
    """Whether a server takes work at the moment, and if not, why."""

    ready: bool
    cause: str | None = None


class Limit(Answer, frozen=True):
    """A limit of what runs at once, and how it stands; see `goflow_trio.Limit`."""

    name: str
    capacity: int
    used: int = 0
    waiting: int = 0
    held_by: list[str] = []


class Draining(Answer, frozen=True):
    """Since when a server takes on nothing new, if so, and what it has still to do."""

    draining: datetime | None
    executions: int
    tasks: int


class Approval(Answer, frozen=True):
    """An answer that was given to a task."""

    execution: str
    task: str
    approved: bool
    by: str = ""


class LogMark(Answer, frozen=True):
    """From this line on, until the next mark: when it began to arrive, and from which stream."""

    line: int
    at: datetime
    stream: str


class Log(Answer, frozen=True):
    """A part of what an attempt printed; offsets count the bytes printed. `line` is the number of its first line."""

    attempt: int
    offset: int
    next_offset: int
    total: int
    text: str
    kept: list[tuple[int, int]] = []
    truncated: bool = False
    finished: bool = True
    line: int = 1
    marks: list[LogMark] = []


class LogHit(Answer, frozen=True):
    """A line that was found: its number from 1, where it begins, and its text, cut if it is long."""

    line: int
    offset: int
    text: str


class LogHits(Answer, frozen=True):
    """Lines with a text in them: the first of all `total` that were found, in order."""

    attempt: int
    total: int
    hits: list[LogHit]
    truncated: bool = False
    finished: bool = True


class Durations(Answer, frozen=True):
    """How long something took, in seconds."""

    count: int
    mean: float
    median: float
    p95: float
    longest: float


class TaskStats(Answer, frozen=True):
    """One task over several executions."""

    states: dict[str, int]
    attempts: int = 0
    retried: int = 0
    durations: Durations | None = None


class Stats(Answer, frozen=True):
    """The latest executions of a job together."""

    job: str
    executions: int
    states: dict[str, int]
    oldest: datetime | None = None
    success_rate: float | None = None
    durations: Durations | None = None
    tasks: dict[str, TaskStats] = {}
