"""Drives a machine as the shell does, synchronously, and checks every step against the rules of the record.

The driver folds each event into a record of its own, keeps the clock, and answers instructions only by being told
to: the test decides which attempt ends when. Whatever it checks holds for every execution at every step.
"""

from copy import deepcopy
from datetime import UTC, datetime, timedelta

from goflow_trio.core.machine import ExecutionMachine
from goflow_trio.core.messages import (
    AttemptCancelled,
    AttemptExpanded,
    AttemptFailed,
    AttemptSkipped,
    AttemptSucceeded,
    CancelAttempt,
    CancelRequested,
    DeadlineReached,
    ExecutionFinished,
    RetryDue,
    RunAttempt,
    TaskCancelRequested,
    TaskError,
    TaskRetryScheduled,
    TaskStarted,
    WaitForRetry,
)
from goflow_trio.core.plan import plan_job, plan_shape
from goflow_trio.core.record import apply_event, fold
from goflow_trio.core.rerun import tasks_to_rerun
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.task import Task
from tests.core.naive import FINAL, LEGAL
from tests.strategies import work

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ERROR = TaskError("ValueError", "no luck", "traceback")


class Driver:
    """One execution of a job under test.

    Args:
        job: the job.
        checked: whether every step is held against the rules below; off where only the cost counts.

    Attributes:
        events: everything that ever became durable.
        record: the fold of them.
        live: attempt number of each task whose attempt runs.
        waiting: attempt number of each task that waits for a retry.
        due: the tasks among `waiting` whose delay is over; they wait for a slot.
        to_cancel: the tasks among `live` that were told to end.
        unwanted: the tasks that were cancelled one by one.
        cuts: (task, attempt) of every attempt that a crash cut.
        step: what the last turn of the machine came to.
    """

    def __init__(self, job, *, checked=True):
        self.job = job
        self.plan = plan_job(job)
        self.now = EPOCH
        self.checked = checked
        self.events = []
        self.record = None
        self.live = {}
        self.waiting = {}
        self.due = set()
        self.to_cancel = set()
        self.cuts = set()
        self.unwanted = set()
        self.machine = ExecutionMachine(self.plan, "e1")
        self._take(self.machine.submit(self.now, params={"day": 1}))

    # What the shell does

    def start(self):
        return self._take(self.machine.start(self.tick()))

    def report(self, report):
        return self._take(self.machine.receive(report, self.tick()))

    def succeed(self, task, result=None, chosen=None):
        return self.report(AttemptSucceeded(task, self.live[task], result, chosen))

    success = AttemptSucceeded

    def expand(self, task, items):
        return self.report(AttemptExpanded(task, self.live[task], tuple(items)))

    def skip(self, task, reason="nothing to do"):
        return self.report(AttemptSkipped(task, self.live[task], reason))

    def fail(self, task, error=ERROR, reason="error"):
        return self.report(AttemptFailed(task, self.live[task], error, reason))

    def acknowledge_cancel(self, task):
        return self.report(AttemptCancelled(task, self.live[task]))

    def retry_due(self, task):
        self.due.add(task)
        return self.report(RetryDue(task, self.waiting[task]))

    def cancel(self, reason="asked to", *, force=False):
        return self.report(CancelRequested(reason, force))

    def cancel_task(self, task, reason="unwanted"):
        self.unwanted.add(task)
        return self.report(TaskCancelRequested(task, reason))

    def deadline(self):
        return self.report(DeadlineReached())

    def reopen(self, start="failed", *, by="", reason="", **options):
        """Open the execution again, which is over; it still has to be started."""
        tasks = tasks_to_rerun(self.plan, self.record, start, **options)
        before = deepcopy(self.record)
        self.machine, step = ExecutionMachine.reopen(
            self.plan, self.record, self.tick(), tasks=tasks, by=by, reason=reason
        )
        assert self.record == before, "a finished record stays as it is"
        return self._take(step)

    def tick(self, seconds=1):
        self.now += timedelta(seconds=seconds)
        return self.now

    def crash(self, *, lost=0, job=None):
        """End the engine and restore from what is durable, without the last `lost` events of the last step.

        Returns the step of the restore; None if the execution had ended.
        """
        assert lost <= len(self.step.events)
        if lost:
            del self.events[-lost:]
        self.record = fold(deepcopy(self.events))["e1"]
        self.live, self.waiting, self.due, self.to_cancel = {}, {}, set(), set()
        self.cuts |= {
            (name, task.attempt)
            for name, task in self.record.tasks.items()
            if task.state == "running" and not task.waiting and task.items is None
        }
        if self.record.state in FINAL:
            return None
        if job is not None:
            self.plan = plan_shape(self.plan.job, self.plan.shape(), job)
        self.machine, step = ExecutionMachine.restore(self.plan, self.record, self.tick())
        return self._take(step)

    # What the record says

    @property
    def state(self):
        return self.record.state

    @property
    def states(self):
        return {name: str(task.state) for name, task in self.record.tasks.items()}

    @property
    def ends(self):
        """How each task stands after how many attempts."""
        return {name: (str(task.state), task.attempt) for name, task in self.record.tasks.items()}

    def pending(self):
        """Return the tasks that something can happen to: an attempt that ends, a delay that is over."""
        return sorted({*self.live, *self.waiting} - self.due)

    @property
    def story(self):
        """The events as text, for tests that compare whole histories."""
        return [f"{event.type} {event.task} {event.attempt or ''}".rstrip() for event in self.events]

    # What holds at every step

    def _take(self, step):
        self.step = step
        self.events += step.events
        if self.record is None:
            self.record = fold(deepcopy(step.events[:1]))["e1"]
        for event in step.events:
            if self.checked:
                self._check_event(event)
            apply_event(self.record, event)
        for instruction in step.instructions:
            self._follow(instruction)
        for name in [name for name, attempt in self.live.items() if not self._runs(name, attempt)]:  # or is a map now
            del self.live[name]
            self.to_cancel.discard(name)
        for name in [name for name in self.waiting if self.record.tasks[name].state != "upforretry"]:
            del self.waiting[name]
            self.due.discard(name)
        if self.checked:
            self._check_step(step)
        return step

    def _runs(self, name, attempt):
        task = self.record.tasks[name]
        return task.state == "running" and task.attempt == attempt and task.items is None

    def _follow(self, instruction):
        match instruction:
            case RunAttempt(task, attempt):
                assert self._runs(task, attempt), f"told to run {task} {attempt}, which has not started"
                self.live[task] = attempt
            case WaitForRetry(task, attempt, seconds):
                record = self.record.tasks[task]
                assert (record.state, record.attempt) == ("upforretry", attempt)
                assert seconds == max(0, (record.retry_at - self.now).total_seconds())
                self.waiting[task] = attempt
            case CancelAttempt(task, attempt):
                assert self.live[task] == attempt, f"told to cancel {task} {attempt}, which does not run"
                self.to_cancel.add(task)

    def _check_event(self, event):
        """Hold one event against the record before it: numbers, transitions, attempts, the end."""
        record = self.record
        assert event.version in {record.version + 1, 1}
        assert event.execution == "e1"
        assert event.job == self.job.name
        assert event.at == self.now
        assert (record.state in FINAL) == (event.type == "execution.reopened"), f"{event.type} after the end"
        if not event.task:
            return
        task = record.tasks[event.task]
        if event.type == "task.expanded":
            assert (task.state, task.items, task.attempt) == ("running", None, event.attempt)
            return
        after = STATE_AFTER[event.type]
        assert (task.state, after) in LEGAL, f"{event.task}: {task.state} to {after}"
        assert event.attempt == task.attempt + (after == "running")
        if isinstance(event, TaskStarted) and record.ending is not None:
            assert self.machine.planned(event.task).is_cleanup

    def _check_step(self, step):
        machine, record = self.machine, self.record
        assert (record.version, record.state) == (machine.version, machine.state)
        for name, task in record.tasks.items():
            if task.mapped_from and task.index >= (record.tasks[task.mapped_from].items or 0):
                assert task.state == "skipped", "it is no item any more"
            else:
                assert machine.task_state(name) is task.state
        running = [name for name, task in record.tasks.items() if task.state == "running" and task.items is None]
        assert sorted(running) == sorted(self.live)
        holding = [name for name in running if not record.tasks[name].waiting]
        assert machine.active == len(holding) <= self.plan.max_active
        upforretry = [name for name, task in record.tasks.items() if task.state == "upforretry"]
        assert sorted(upforretry) == sorted(self.waiting)
        started = [(e.task, e.attempt) for e in step.events if isinstance(e, TaskStarted)]
        told = [(i.task, i.attempt) for i in step.instructions if isinstance(i, RunAttempt)]
        told = [pair for pair in told if pair in started or not record.tasks[pair[0]].waiting]  # that one goes on
        assert told == [pair for pair in started if pair[0] in self.live]
        planned = [(e.task, e.attempt) for e in step.events if isinstance(e, TaskRetryScheduled)]
        waits = [(i.task, i.attempt) for i in step.instructions if isinstance(i, WaitForRetry)]
        assert set(planned) <= set(waits)
        orders = [i for i in step.instructions if i.task in self.live or i.task in self.waiting]
        if any(isinstance(i, CancelAttempt) for i in orders):  # one whose task was decided needs no answer
            assert record.ending is not None or self.unwanted
        ended = [e for e in step.events if isinstance(e, ExecutionFinished)]
        assert bool(ended) == (machine.finished and bool(step.events))
        if machine.finished:
            assert all(task.state in FINAL for task in record.tasks.values())
            assert not orders
            assert ended == step.events[-1:]


STATE_AFTER = {
    "task.started": "running",
    "task.succeeded": "successful",
    "task.failed": "failed",
    "task.retry_scheduled": "upforretry",
    "task.skipped": "skipped",
    "task.cancelled": "cancelled",
}


def job_with(*tasks, **options):
    job = Job("job", **options)
    for task in tasks:
        job.add(task)
    return job


def started(*tasks, **options):
    """Return the driver of a started execution of a job of these tasks."""
    driver = Driver(job_with(*tasks, **options))
    driver.start()
    return driver


def task(name="a", **options):
    return Task(name, work, **options)


class Unshowable(Exception):
    def __str__(self):
        raise RuntimeError("not even this")
