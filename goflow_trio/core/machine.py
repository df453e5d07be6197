"""What happens next in one execution. Pure: it is told what happened and answers with facts and orders.

`start`, `receive` and `restore` each return a `Step`: the events that are now true, and the instructions to follow once
they are durable. Two kinds of rules act:

- *event-triggered*: a report moves the one task it is about (`_on_report`);
- *state-triggered*: when a task reaches a final state, the tallies of its downstreams move and their trigger rules are
  asked; a skip settles its own downstreams; until nothing moves (`_settle`).

The file is long since all that may change a state is in it. Every change passes `_move`, which asks the table in
`core/states.py` and numbers the event. A report costs the out-degree of the tasks it settles, never the size of the
graph. The order of output is the order of declaration.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from attrs import Factory, define

from goflow_trio.core import limits
from goflow_trio.core.ids import child_id
from goflow_trio.core.messages import (
    AttemptCancelled,
    AttemptExpanded,
    AttemptFailed,
    AttemptSkipped,
    AttemptSucceeded,
    CancelAttempt,
    CancelRequested,
    DeadlineReached,
    Decided,
    Event,
    ExecutionCancelling,
    ExecutionFinished,
    ExecutionReopened,
    ExecutionStarted,
    ExecutionSubmitted,
    Instruction,
    Report,
    RetryDue,
    RunAttempt,
    SlotGranted,
    TaskCancelled,
    TaskCancelRequested,
    TaskError,
    TaskExpanded,
    TaskFailed,
    TaskRetryScheduled,
    TaskSkipped,
    TaskStarted,
    TaskSucceeded,
    WaitForRetry,
)
from goflow_trio.core.places import Places
from goflow_trio.core.plan import BRANCH, MAP, Plan, PlannedTask
from goflow_trio.core.record import ExecutionRecord, TaskRecord, reopened_record
from goflow_trio.core.states import (
    EXECUTION_LEGAL,
    EXECUTION_REOPENED,
    TASK_LEGAL,
    TASK_REOPENED,
    State,
    check_transition,
)
from goflow_trio.errors import InvalidTransition
from goflow_trio.jobs.trigger_rules import Tally, Verdict

INTERRUPTED = "interrupted"
"""Reason of an attempt that ended because the engine did."""

REJECTED = "rejected"
"""Reason of a task that asked for an approval and did not get it."""

CRASH_LOOP = "crash-loop"
"""Reason of a task that is held to be the cause of the engine's ends."""

Admit = Callable[[str, Any], bool]
"""Takes the slots of a task, by its name and its definition; whether it has them now."""

_MOST_ASKING = limits.ACTIVE_TASKS_PER_EXECUTION  # a wide graph does not flood the engine's queue
_STORY_EVENTS = 50
_NAMED_FAILURES = 5


@define
class Step:
    """What one turn of the machine came to.

    Args:
        events: facts, in order; to be made durable before anything else.
        instructions: orders, in order; to be followed after that.
    """

    events: list[Event] = Factory(list)
    instructions: list[Instruction] = Factory(list)


def _admit_all(_task: str, _definition: Any) -> bool:
    return True


class ExecutionMachine:
    """The state of one execution, and the rules that move it.

    Args:
        plan: the graph it runs on.
        execution: the execution's id.
        admit: asked before a task starts: whether it has its slots. If not, the task stays ready and
            starts with the report `SlotGranted`. As with a retry delay, the answer is recorded by what follows from it.
    """

    def __init__(self, plan: Plan, execution: str, admit: Admit = _admit_all) -> None:
        count = len(plan.tasks)
        self.plan = plan
        self.execution = execution
        self.state = State.NOTSTARTED
        self.version = 0
        self._places = Places(plan)
        self._states = [State.NOTSTARTED] * count
        self._attempts = [0] * count
        self._spared = [0] * count
        self._earlier: dict[int, int] = {}
        self._interruptions: dict[int, int] = {}
        self._tallies = [Tally(total) for total in plan.upstreams]
        self._unfinished = count
        self._failures: list[str] = []
        self._failed = 0
        self._cancelled = 0
        self._ending: State | None = None
        self._ending_reason = ""
        self._forced = False
        self._ready: list[tuple[int, int, int]] = []  # heap of (-priority, arrival, task)
        self._arrivals = 0
        self._waits_ready: deque[int] = deque()  # what needs no slot
        self._undecided = dict(plan.deciders)  # branches before a task that have not ended
        self._unchosen: dict[int, str] = {}  # by which branch a task is not to run
        self._children: dict[int, str] = {}  # which child a task goes on with that begins anew
        self._former: dict[str, int] = {}  # attempts of what was an item before the execution was opened again
        self._is_ready = bytearray(count)
        self._admit = admit
        self._asked: set[int] = set()  # ready, and waiting for a slot
        self._cancel_reasons: dict[int, str] = {}  # of tasks that were cancelled one by one
        self._began: dict[int, datetime] = {}  # the first attempt, of tasks with a limit on all attempts together
        self._active = 0
        self._held = False
        self._to_ask: deque[int] = deque()
        self._step = Step()
        self._story: deque[Event] = deque(maxlen=_STORY_EVENTS)
        self._on_report: dict[type[Report], Callable[[Any, datetime], None]] = {
            AttemptSucceeded: self._succeeded,
            AttemptExpanded: self._expanded,
            AttemptSkipped: self._attempt_skipped,
            AttemptFailed: self._attempt_failed,
            AttemptCancelled: self._attempt_cancelled,
            RetryDue: self._retry_due,
            Decided: self._decided,
            CancelRequested: self._cancel_requested,
            TaskCancelRequested: self._task_cancel_requested,
            SlotGranted: self._slot_granted,
            DeadlineReached: self._deadline_reached,
        }

    @property
    def finished(self) -> bool:
        """Whether the execution reached its final state."""
        return self.state.is_final

    @property
    def forced(self) -> bool:
        """Whether clean-up was told to end too."""
        return self._forced

    @property
    def active(self) -> int:
        """How many attempts hold a slot."""
        return self._active

    def task_state(self, name: str) -> State:
        """Return where a task, or an item of a map, stands."""
        return self._states[self._places.find(name)]

    def planned(self, name: str) -> PlannedTask:
        """Return what is known of a task; of an item, what is known of its map."""
        return self._places.tasks[self._places.find(name)]

    @property
    def ending(self) -> bool:
        """Whether the execution was told to end; what still starts is clean-up."""
        return self._ending is not None

    @property
    def held(self) -> bool:
        """Whether nothing starts any more."""
        return self._held

    def is_ready(self, name: str) -> bool:
        """Return whether a task may run as far as the graph is concerned, and has not started."""
        return bool(self._is_ready[self._places.find(name)])

    # Turns ----------------------------------------------------------------------------------------

    def submit(
        self,
        now: datetime,
        *,
        params: Mapping[str, Any] | None = None,
        scheduled_for: datetime | None = None,
        trigger: str = "manual",
        parent: str = "",
        parent_task: str = "",
    ) -> Step:
        """Begin to exist. Nothing runs before `start`."""
        self._emit(
            ExecutionSubmitted(
                at=now,
                job=self.plan.job,
                tasks=self.plan.names,
                params=dict(params or {}),
                scheduled_for=scheduled_for,
                definition=self.plan.digest,
                trigger=trigger,
                parent=parent,
                parent_task=parent_task,
            )
        )
        return self._take_step(now)

    def start(self, now: datetime) -> Step:
        """Let the first tasks run."""
        self._move_execution(State.RUNNING, ExecutionStarted(now, self.plan.job))
        self._to_ask.extend(range(len(self._states)))
        return self._take_step(now)

    def receive(self, report: Report, now: datetime) -> Step:
        """Take one report. One that is out of date (a superseded attempt, a finished execution) changes nothing."""
        return self.receive_all((report,), now)

    def receive_all(self, reports: tuple[Report, ...] | list[Report], now: datetime) -> Step:
        """Take the reports that arrived together as one turn, so that they share one write."""
        for report in reports:
            if not self.finished:
                self._on_report[type(report)](report, now)
                self._settle(now)
        return self._take_step(now)

    def hold(self) -> None:
        """Start nothing more: the engine is closing. What runs may still end and be recorded."""
        self._held = True

    @classmethod
    def restore(
        cls, plan: Plan, record: ExecutionRecord, now: datetime, admit: Admit = _admit_all
    ) -> tuple[ExecutionMachine, Step]:
        """Go on with an execution that the engine's end found unfinished.

        Finished tasks stay as they are. An attempt that was running was cut: it is recorded as failed with reason
        `interrupted` and retried if the task has retries left or is idempotent. A retry's remaining wait is kept.
        An attempt that only waited goes on, or is run once more to be told to end.
        An execution that had not started still has to be started.
        """
        machine = cls(plan, record.id, admit)
        machine._load(record)
        if record.state is State.RUNNING or record.ending is not None:
            for index in range(len(machine._states)):
                machine._resume(index, record.tasks[machine._places.name(index)], now)
            machine._to_ask.extend(range(len(machine._states)))
        return machine, machine._take_step(now)

    @classmethod
    def reopen(
        cls,
        plan: Plan,
        record: ExecutionRecord,
        now: datetime,
        *,
        tasks: tuple[str, ...],
        by: str,
        reason: str,
        admit: Admit = _admit_all,
        start: str = "",
    ) -> tuple[ExecutionMachine, Step]:
        """Open an execution that is over: `tasks` begin anew, with fresh retries, the others stay as they ended.

        It then still has to be started, as one that was just submitted. Which tasks: `core/rerun.py`. A task that ran a
        child which was not successful goes on with that child, unless everything begins at the `start`.
        """
        event = ExecutionReopened(
            now, plan.job, record.id, record.version + 1, tasks=tasks, by=by, reason=reason, start=start
        )
        check_transition(EXECUTION_REOPENED, record.state, State.NOTSTARTED, f"execution {record.id}")
        for name in tasks:
            check_transition(TASK_REOPENED, record.tasks[name].state, State.NOTSTARTED, f"task {name!r}")
        machine = cls(plan, record.id, admit)
        machine._load(reopened_record(record, event))
        return machine, Step([event])

    def _resume(self, index: int, task: TaskRecord, now: datetime) -> None:
        """Go on with one task where the engine's end found it."""
        if index in self._places.groups:
            if task.state is State.RUNNING and not self._places.groups[index].left:
                self._end_group(index, now)
        elif task.state is State.RUNNING and task.waiting and self._waits(index):
            self._go_on(index, now)
        elif task.state is State.RUNNING:
            self._interrupt(index, now)
        elif not task.state.is_final and not self._spares(self._places.tasks[index]):
            self._cancel(index, now)  # the log ended between the decision to end and its last effect
        elif task.state is State.UPFORRETRY:
            self._wait_on(index, task.retry_at or now, now)

    # Reports --------------------------------------------------------------------------------------

    def _succeeded(self, report: AttemptSucceeded, now: datetime) -> None:
        index = self._running(report.task, report.attempt)
        if index is None:
            return
        error = None if report.chosen is None else self._wrong_choice(index, report.chosen)
        if error is not None:
            self._fail(index, error, "error", now)
            return
        event = TaskSucceeded(
            now,
            self.plan.job,
            task=report.task,
            attempt=report.attempt,
            result=report.result,
            chosen=report.chosen,
        )
        self._finish(index, State.SUCCESSFUL, event, chosen=report.chosen)

    def _expanded(self, report: AttemptExpanded, now: datetime) -> None:
        index = self._running(report.task, report.attempt)
        if index is None:
            return
        if not self._spares(self._places.tasks[index]):
            self._cancel(index, now)
        elif not report.items:
            self._skip(index, "there is nothing to map it over", now)
        else:
            event = TaskExpanded(now, self.plan.job, task=report.task, attempt=report.attempt, items=report.items)
            self._emit(event)
            self._active -= 1  # the map itself holds no slot while its items run
            self._to_ask.extend(self._make_items(index, len(report.items)))

    def _wrong_choice(self, index: int, chosen: tuple[str, ...]) -> TaskError | None:
        """Return what is wrong with what a branch chose."""
        names = [self.plan.tasks[after].name for after in self.plan.tasks[index].downstream]
        wrong = set(chosen).difference(names)
        if not wrong:
            return None
        known = ", ".join(names) or "none"
        return TaskError("UnknownTask", f"the branch chose {min(wrong)!r}; the tasks directly after it are: {known}")

    def _attempt_skipped(self, report: AttemptSkipped, now: datetime) -> None:
        index = self._running(report.task, report.attempt)
        if index is not None:
            event = TaskSkipped(now, self.plan.job, task=report.task, attempt=report.attempt, reason=report.reason)
            self._finish(index, State.SKIPPED, event)

    def _decided(self, report: Decided, now: datetime) -> None:
        index = self._places.find(report.task)
        waits = self._places.tasks[index].waits
        if self._states[index] is not State.RUNNING or waits is None or waits.kind != "approval":
            return  # decided already, or no longer asked
        attempt = self._attempts[index]
        self._step.instructions.append(CancelAttempt(report.task, attempt))
        if report.approved:
            result = {"approved": True, "by": report.by, "comment": report.comment}
            event = TaskSucceeded(now, self.plan.job, task=report.task, attempt=attempt, result=result)
            self._finish(index, State.SUCCESSFUL, event)
        else:
            said = f"rejected by {report.by or 'someone'}" + (f": {report.comment}" if report.comment else "")
            self._fail_for_good(index, TaskError("Rejected", said), REJECTED, now)

    def _attempt_failed(self, report: AttemptFailed, now: datetime) -> None:
        index = self._running(report.task, report.attempt)
        if index is not None:
            self._fail(index, report.error, report.reason, now)

    def _attempt_cancelled(self, report: AttemptCancelled, now: datetime) -> None:
        index = self._running(report.task, report.attempt)
        if index is not None:
            self._cancel(index, now, report.reason)

    def _retry_due(self, report: RetryDue, now: datetime) -> None:  # noqa: ARG002
        index = self._places.find(report.task)
        waits = self._states[index] is State.UPFORRETRY and not self._is_ready[index]
        if waits and self._attempts[index] == report.attempt:
            self._queue(index)

    def _cancel_requested(self, report: CancelRequested, now: datetime) -> None:
        self._end(State.CANCELLED, report.reason, now, force=report.force)

    def _task_cancel_requested(self, report: TaskCancelRequested, now: datetime) -> None:
        index = self._places.find(report.task)
        if self._states[index].is_final or index in self._cancel_reasons:
            return
        self._cancel_reasons[index] = report.reason
        if index in self._places.groups:  # it is over when its items are
            for item in self._places.items_of(index):
                self._task_cancel_requested(TaskCancelRequested(self._places.name(item), report.reason), now)
            return
        if self._states[index] is State.RUNNING:
            self._step.instructions.append(CancelAttempt(report.task, self._attempts[index]))
        else:
            self._cancel(index, now)

    def _slot_granted(self, report: SlotGranted, now: datetime) -> None:
        index = self._places.find(report.task)
        self._asked.discard(index)
        if not self._is_ready[index] or self._held:  # cancelled while it waited, or nothing starts any more
            return
        if self._active < self.plan.max_active:
            self._run(index, now)
        else:  # others of the execution took its places meanwhile: ask again when there is one
            self._push(index)

    def _deadline_reached(self, report: DeadlineReached, now: datetime) -> None:  # noqa: ARG002
        bound = f" after {self.plan.timeout:g} s" if self.plan.timeout is not None else ""  # a restart may find it gone
        self._end(State.FAILED, f"timed out{bound}", now, force=False)

    def _running(self, task: str, attempt: int) -> int | None:
        """Return the task's index if this attempt of it is the one that runs."""
        index = self._places.find(task)
        if (
            self._states[index] is State.RUNNING
            and index not in self._places.groups
            and self._attempts[index] == attempt
        ):
            return index
        return None

    # Maps -----------------------------------------------------------------------------------------

    def _make_items(self, index: int, size: int) -> range:
        """Make room for the items of a map. For its downstreams, they count in its place."""
        items = self._places.add_items(index, size)
        for place in items:
            former = self._former.get(self._places.name(place), 0)
            if former:
                self._earlier[place] = former
            self._states.append(State.NOTSTARTED)
            self._attempts.append(former)
            self._spared.append(0)
        self._is_ready.extend(bytes(size))
        self._unfinished += size
        for after in self.plan.tasks[index].downstream:
            self._tallies[after].total += size - 1
        return items

    def _end_group(self, index: int, now: datetime) -> None:
        """End a map whose items have ended. They were counted downstream, it is not."""
        tally = self._places.groups[index].tally
        name, attempt, job = self._places.name(index), self._attempts[index], self.plan.job
        event: Event
        if tally.failed:
            error = TaskError("ItemsFailed", f"{tally.failed} of {tally.total} items failed")
            event = TaskFailed(now, job, task=name, attempt=attempt, error=error, reason="items failed")
            state = State.FAILED
        elif tally.cancelled:
            reason = self._ending_reason
            event = TaskCancelled(now, job, task=name, attempt=attempt, reason=reason)
            state = State.CANCELLED
        elif tally.successful:
            event = TaskSucceeded(now, job, task=name, attempt=attempt)
            state = State.SUCCESSFUL
        else:
            event = TaskSkipped(now, job, task=name, attempt=attempt, reason="all its items were skipped")
            state = State.SKIPPED
        self._move(index, state, event)
        self._unfinished -= 1

    def _leave_group(self, index: int) -> None:
        """Let the next item of a map run in place of one that does not run any more."""
        following = self._places.groups[self._places.map_of(index)].leave(index, self._is_ready)
        if following is not None:
            self._push(following)

    # Rules ----------------------------------------------------------------------------------------

    def _fail(self, index: int, error: TaskError, reason: str, now: datetime, *, spare: bool = False) -> None:
        """End the running attempt as failed; plan another if the task has retries left, or is to be spared."""
        task = self._places.tasks[index]
        name = self._places.name(index)
        attempt = self._attempts[index]
        fresh = attempt - self._earlier.get(index, 0)
        retries_are_left = spare or fresh - self._spared[index] <= task.retries
        if not retries_are_left or not self._spares(task) or index in self._cancel_reasons:
            self._fail_for_good(index, error, reason, now)
            return
        try:
            key = f"{self.execution}/{name}/{attempt}"
            wait = 0.0 if spare else _checked_wait(task.retry_delay.seconds(fresh, key))
            retry_at = now + timedelta(seconds=wait)
        except BaseException as broken:  # noqa: BLE001, ASYNC103  # the delay may be the user's code
            self._fail_for_good(index, _error_of(broken), "retry delay failed", now)
            return
        if self._time_left(index, retry_at) == 0:
            self._fail_for_good(index, error, reason if reason != "error" else "no time left for a retry", now)
            return
        event = TaskRetryScheduled(
            now,
            self.plan.job,
            task=name,
            attempt=attempt,
            error=error,
            reason=reason,
            retry_at=retry_at,
            spared=spare,
        )
        self._move(index, State.UPFORRETRY, event)
        self._active -= not self._waits(index)
        self._spared[index] += spare
        if index >= self._places.count:
            self._leave_group(index)
        self._step.instructions.append(WaitForRetry(name, attempt, wait))

    def _time_left(self, index: int, moment: datetime) -> float | None:
        """Return the seconds that are left of a task's time at a moment, all its attempts together."""
        most = self._places.tasks[index].total_timeout
        if most is None:
            return None
        return max(0.0, most - (moment - self._began.get(index, moment)).total_seconds())

    def _fail_for_good(self, index: int, error: TaskError, reason: str, now: datetime) -> None:
        task = self._places.name(index)
        self._note_failure(task)
        event = TaskFailed(now, self.plan.job, task=task, attempt=self._attempts[index], error=error, reason=reason)
        self._finish(index, State.FAILED, event)

    def _fail_unrun(self, index: int, error: TaskError, reason: str, now: datetime) -> None:
        """Fail a task that cannot be run at all: it starts and fails in one step, and retries would not help."""
        self._start_attempt(index, now)
        self._fail_for_good(index, error, reason, now)

    def _note_failure(self, task: str) -> None:
        self._failed += 1
        if len(self._failures) < _NAMED_FAILURES:
            self._failures.append(task)

    def _interrupt(self, index: int, now: datetime) -> None:
        """Record that the engine's end cut the running attempt."""
        task = self._places.tasks[index]
        crashes = self._interruptions.get(index, 0) + 1
        self._interruptions[index] = crashes
        if not self._spares(task):
            self._cancel(index, now)
            return
        error = TaskError("Interrupted", "the engine ended while this attempt was running")
        if crashes > limits.CRASH_LIMIT:
            error = TaskError("CrashLoop", f"the engine ended {crashes} times while this task was running")
            self._fail_for_good(index, error, CRASH_LOOP, now)
        else:
            self._fail(index, error, INTERRUPTED, now, spare=task.idempotent or task.kind == MAP)

    def _waits(self, index: int) -> bool:
        """Whether the task only waits: it holds no slot, and no crash cuts it."""
        return self._places.tasks[index].waits is not None

    def _go_on(self, index: int, now: datetime) -> None:
        """Take up an attempt that was waiting when the engine ended."""
        name = self._places.name(index)
        self._order(index, now)
        if not self._spares(self._places.tasks[index]):
            self._step.instructions.append(CancelAttempt(name, self._attempts[index]))

    def _wait_on(self, index: int, retry_at: datetime, now: datetime) -> None:
        seconds = max(0.0, (retry_at - now).total_seconds())
        self._step.instructions.append(WaitForRetry(self._places.name(index), self._attempts[index], seconds))

    def _end(self, state: State, reason: str, now: datetime, *, force: bool) -> None:
        """Begin to end the execution: cancel what is not clean-up; with `force`, that too."""
        if self._ending is not None and (self._forced or not force):
            return
        if self._ending is None:
            self._ending, self._ending_reason = state, reason
        self._forced = force
        self._emit(
            ExecutionCancelling(now, self.plan.job, reason=self._ending_reason, state=self._ending, forced=force)
        )
        for index in range(len(self._states)):
            if self._spares(self._places.tasks[index]) or index in self._places.groups:  # a map ends with its items
                continue
            match self._states[index]:
                case State.RUNNING:
                    self._step.instructions.append(CancelAttempt(self._places.name(index), self._attempts[index]))
                case State.NOTSTARTED | State.UPFORRETRY:
                    self._cancel(index, now)
                case _:
                    pass

    def _spares(self, task: PlannedTask) -> bool:
        """Whether the task may go on: nothing is to end, or it is the clean-up of what had begun."""
        return self._ending is None or (task.is_cleanup and not self._forced and self.state is State.RUNNING)

    def _cancel(self, index: int, now: datetime, detail: str = "") -> None:
        self._cancelled += 1
        reasons = (self._cancel_reasons.get(index) or self._ending_reason, detail)
        self._finish(
            index,
            State.CANCELLED,
            TaskCancelled(
                now,
                self.plan.job,
                task=self._places.name(index),
                attempt=self._attempts[index],
                reason="; ".join(filter(None, reasons)),
            ),
        )

    def _settle(self, now: datetime) -> None:
        """Ask the rules of all tasks whose upstreams moved, until nothing moves; then start what may run."""
        if self.state is State.NOTSTARTED and self._ending is None:
            return  # a task was cancelled in advance: `start` asks them all
        while True:
            while self._to_ask:
                index = self._to_ask.popleft()
                if self._states[index] is State.NOTSTARTED and not self._is_ready[index]:
                    self._ask(index, now)
            self._start_ready(now)
            if not self._to_ask:  # a task whose definition is gone fails as it starts, and settles others
                break
        if not self._unfinished and not self.finished and (self.state is State.RUNNING or self._ending):
            state, reason = self._outcome()
            self._move_execution(state, ExecutionFinished(now, self.plan.job, state=state, reason=reason))

    def _ask(self, index: int, now: datetime) -> None:
        if index >= self._places.count:  # an item, which nothing is before
            self._queue(index)
            return
        task = self.plan.tasks[index]
        tally = self._tallies[index]
        if index in self._unchosen:
            self._skip(index, f"by choice of {self._unchosen[index]!r}", now)
            return
        if self._undecided.get(index):  # whatever its rule says, a branch before it may yet say no
            return
        try:
            verdict = task.rule(tally)
        except BaseException as broken:  # noqa: BLE001, ASYNC103  # the rule may be the user's code
            self._fail_unrun(index, _error_of(broken), "trigger rule failed", now)
            return
        if verdict is Verdict.RUN:
            self._queue(index)
        elif verdict is Verdict.SKIP:
            reason = (
                f"{task.rule_name}: of {tally.total} upstreams {tally.successful} successful, "
                f"{tally.failed} failed, {tally.skipped} skipped, {tally.cancelled} cancelled"
            )
            self._skip(index, reason, now)
        elif tally.all_done:
            error = TaskError("DefinitionError", f"its rule answered {verdict!r} though all upstreams ended")
            self._fail_unrun(index, error, "trigger rule failed", now)

    def _skip(self, index: int, reason: str, now: datetime) -> None:
        attempt = self._attempts[index]  # 0, unless it had run before the execution was opened again
        event = TaskSkipped(now, self.plan.job, task=self._places.name(index), attempt=attempt, reason=reason)
        self._finish(index, State.SKIPPED, event)

    def _queue(self, index: int) -> None:
        self._is_ready[index] = True
        if index < self._places.count or self._places.groups[self._places.map_of(index)].admits(index):
            self._push(index)

    def _push(self, index: int) -> None:
        """Let a task that is ready start as soon as there is a slot."""
        if self._waits(index):
            self._waits_ready.append(index)
            return
        self._arrivals += 1
        heapq.heappush(self._ready, (-self._places.tasks[index].priority, self._arrivals, index))

    def _start_ready(self, now: datetime) -> None:
        most = self.plan.max_active
        while self._waits_ready and not self._held:
            self._start(self._waits_ready.popleft(), now)
        while self._ready and not self._held and self._active < most and len(self._asked) < _MOST_ASKING:
            self._start(heapq.heappop(self._ready)[2], now)

    def _start(self, index: int, now: datetime) -> None:
        if not self._is_ready[index]:  # cancelled while it was in the queue
            return
        if self._places.tasks[index].definition is None:
            error = TaskError("DefinitionError", f"job {self.plan.job!r} no longer has this task")
            self._fail_unrun(index, error, "definition gone", now)
        elif self._waits(index) or self._admit(self._places.name(index), self._places.tasks[index].definition):
            self._run(index, now)
        else:
            self._asked.add(index)

    def _run(self, index: int, now: datetime) -> None:
        self._start_attempt(index, now)
        self._order(index, now)

    def _order(self, index: int, now: datetime) -> None:
        name, attempt, seconds = self._places.name(index), self._attempts[index], self._time_left(index, now)
        self._step.instructions.append(RunAttempt(name, attempt, waits=self._waits(index), seconds=seconds))

    def _start_attempt(self, index: int, now: datetime) -> None:
        attempt = self._attempts[index] + 1
        waits = self._places.tasks[index].waits
        event = TaskStarted(now, self.plan.job, task=self._places.name(index), attempt=attempt)
        if waits is not None:
            event.waiting, event.reason = waits.kind, waits.text
            if waits.kind == "job":
                event.child = self._children.pop(index, "") or child_id(self.execution, event.task, attempt, now)
        self._move(index, State.RUNNING, event)
        self._attempts[index] = attempt
        if self._places.tasks[index].total_timeout is not None:
            self._began.setdefault(index, now)
        self._is_ready[index] = False
        self._active += waits is None

    def _outcome(self) -> tuple[State, str]:
        """Return the final state of the execution, and why, once all tasks are final."""
        if self._ending is not None:
            return self._ending, self._ending_reason
        if not self._failed:
            one_by_one = [index for index in self._cancel_reasons if self._states[index] is State.CANCELLED]
            if one_by_one:
                names = ", ".join(self._places.name(index) for index in sorted(one_by_one))
                return State.CANCELLED, f"cancelled one by one: {names}"
            if self._cancelled:  # what is left from before it was opened again
                return State.CANCELLED, f"{self._cancelled} tasks are cancelled and did not run again"
            return State.SUCCESSFUL, ""
        more = self._failed - len(self._failures)
        names = ", ".join(self._failures) + (f" and {more} more" if more else "")
        return State.FAILED, f"failed: {names}"

    # Writes ---------------------------------------------------------------------------------------

    def _finish(self, index: int, state: State, event: Event, chosen: tuple[str, ...] | None = None) -> None:
        """Bring a task to a final state and let its downstreams know."""
        was_running = self._states[index] is State.RUNNING
        self._move(index, state, event)
        self._active -= was_running and not self._waits(index)
        self._is_ready[index] = False
        self._ended(index, state, chosen)
        self._to_ask.extend(self._places.tasks[index].downstream)
        if index >= self._places.count:
            self._leave_group(index)
            mapped = self._places.map_of(index)
            if not self._places.groups[mapped].left:
                self._end_group(mapped, event.at)

    def _ended(self, index: int, state: State, chosen: tuple[str, ...] | None) -> None:
        """Count a task that is in its final state, for the whole and for its downstreams."""
        task = self._places.tasks[index]
        self._unfinished -= 1
        if index >= self._places.count:
            _count(self._places.groups[self._places.map_of(index)].tally, state)
        for after in task.downstream:
            _count(self._tallies[after], state)
            if task.kind == BRANCH:
                self._undecided[after] -= 1
        if chosen is not None:
            names = frozenset(chosen)
            self._unchosen.update(
                (after, task.name) for after in task.downstream if self.plan.tasks[after].name not in names
            )

    def _move(self, index: int, state: State, event: Event) -> None:
        try:
            check_transition(TASK_LEGAL, self._states[index], state, f"task {event.task!r}")
        except InvalidTransition as error:
            raise self._with_story(error) from None
        self._states[index] = state
        self._emit(event)

    def _move_execution(self, state: State, event: Event) -> None:
        try:
            check_transition(EXECUTION_LEGAL, self.state, state, f"execution {self.execution}")
        except InvalidTransition as error:
            raise self._with_story(error) from None
        self.state = state
        self._emit(event)

    def _emit(self, event: Event) -> None:
        self.version += 1
        event.execution = self.execution
        event.version = self.version
        self._story.append(event)
        self._step.events.append(event)

    def _take_step(self, now: datetime) -> Step:
        self._settle(now)
        step, self._step = self._step, Step()
        return step

    def _with_story(self, error: InvalidTransition) -> InvalidTransition:
        story = [f"{event.version} {event.type} {event.task} {event.attempt or ''}".rstrip() for event in self._story]
        return InvalidTransition(str(error).partition("\n")[0], story)

    def _load(self, record: ExecutionRecord) -> None:
        self.state = record.state
        self.version = record.version
        self._ending = record.ending
        self._forced = record.forced
        self._ending_reason = record.reason if record.ending else ""
        if len(record.tasks) > len(self.plan.tasks):
            self._load_items(record)
        for index in range(len(self._states)):
            task = record.tasks[self._places.name(index)]
            self._load_attempts(index, task)
            if task.earlier:
                self._load_child(index, task, keep=record.reopenings[-1].start != "start")
            if index in self._places.groups:  # what counts are its items
                self._unfinished -= task.state.is_final
                continue
            self._load_state(index, task)

    def _load_state(self, index: int, task: TaskRecord) -> None:
        """Count a task where it counts in its state."""
        if task.state is State.RUNNING:
            self._active += not self._waits(index)
            if index >= self._places.count:
                self._places.groups[self._places.map_of(index)].admits(index)
        if task.state.is_final:
            self._ended(index, task.state, task.chosen)
        if task.state is State.FAILED:
            self._note_failure(task.name)
        self._cancelled += task.state is State.CANCELLED

    def _load_child(self, index: int, task: TaskRecord, *, keep: bool) -> None:
        """Take in which child a task ran before the execution was opened again, if it is to go on with that."""
        last = task.attempts[-1]
        if keep and task.earlier == task.attempt and last.child and last.state is not State.SUCCESSFUL:
            self._children[index] = last.child

    def _load_attempts(self, index: int, task: TaskRecord) -> None:
        self._states[index] = task.state
        self._attempts[index] = task.attempt
        self._spared[index] = task.spared
        if task.earlier:
            self._earlier[index] = task.earlier
        interruptions = sum(attempt.reason == INTERRUPTED for attempt in task.attempts[task.earlier :])
        if interruptions:
            self._interruptions[index] = interruptions
        if self._places.tasks[index].total_timeout is not None and task.attempt > task.earlier:
            self._began[index] = task.attempts[task.earlier].started

    def _load_items(self, record: ExecutionRecord) -> None:
        """Take in the items of maps; and of those that are no items (any more), how often they ran."""
        for task in record.tasks.values():
            mapped = record.tasks.get(task.mapped_from)
            if mapped is not None and (mapped.items is None or (task.index or 0) >= mapped.items):
                self._former[task.name] = task.attempt
        for index, name in enumerate(self.plan.index):
            items = record.tasks[name].items
            if items is not None:
                self._make_items(index, items)


def was_answered_so(task: TaskRecord, attempt: int, *, approved: bool, by: str) -> bool:
    """Whether an attempt that asked for an approval ended by just this answer."""
    if task.attempt != attempt:
        return False
    if approved:
        return task.state is State.SUCCESSFUL and isinstance(task.result, dict) and task.result.get("by") == by
    return task.state is State.FAILED and task.reason == REJECTED


def _count(tally: Tally, state: State) -> None:
    match state:
        case State.SUCCESSFUL:
            tally.successful += 1
        case State.FAILED:
            tally.failed += 1
        case State.SKIPPED:
            tally.skipped += 1
        case _:
            tally.cancelled += 1


def _checked_wait(seconds: float) -> float:
    wait = float(seconds)
    if not 0 <= wait < float("inf"):
        raise ValueError(f"a retry delay must be a finite number of seconds, 0 or more, got {seconds!r}")
    return wait


def _error_of(broken: BaseException) -> TaskError:
    try:
        message = str(broken)[: limits.ERROR_CHARS]
    except Exception:  # noqa: BLE001  # its __str__ is the user's code too
        message = "its message cannot be shown"
    return TaskError(type(broken).__name__, message)
