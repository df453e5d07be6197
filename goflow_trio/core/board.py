"""Where one execution stands, and each of its tasks; and the only way to change that.

The files beside it decide: what starts (`starting`, asked by `settling`), how a task ends (`finishing`, `failing`,
`cancelling`, `items`), how a restart goes on (`restoring`). They read and write the board, and every change of a state
passes `move` or `move_execution`, which ask the tables in `core/states.py` and number the event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from attrs import Factory, define

from goflow_trio.core.attempts import Attempts
from goflow_trio.core.ids import child_id
from goflow_trio.core.messages import Event, Instruction, TaskStarted
from goflow_trio.core.places import Places
from goflow_trio.core.plan import Plan
from goflow_trio.core.queue import Queue
from goflow_trio.core.states import EXECUTION_LEGAL, TASK_LEGAL, State, check_transition
from goflow_trio.errors import InvalidTransition
from goflow_trio.jobs.trigger_rules import Tally

Admit = Callable[[str, Any], bool]
"""Takes the slots of a task, by its name and its definition; whether it has them now."""

_STORY_EVENTS = 50


@define
class Step:
    """What one turn of the machine came to.

    Args:
        events: facts, in order; to be made durable before anything else.
        instructions: orders, in order; to be followed after that.
    """

    events: list[Event] = Factory(list)
    instructions: list[Instruction] = Factory(list)


class Board:
    """One execution. Tasks are known by their places, see `core/places.py`.

    Args:
        plan: the graph it runs on.
        execution: its id.
        admit: asked before a task starts.

    Attributes:
        job: the job's name.
        state: where the execution stands.
        version: how many events it has come to.
        places: what is planned at each place, and the items of maps.
        states: where each task stands.
        is_ready: whether it may run as far as the graph is concerned, and has not started.
        attempts: how often each ran.
        queue: those that are ready.
        tallies: how the tasks before each of the plan's ended.
        undecided: branches before a task that have not ended.
        unchosen: by which branch a task is not to run.
        to_ask: tasks whose rules are to be asked, as something before them ended.
        active: how many attempts hold a slot.
        held: whether nothing starts any more.
        unfinished: how many tasks have not ended; a map whose items are known counts as these.
        failed: how many have failed.
        failures: the names of the first of them.
        cancelled: how many were cancelled.
        cancel_reasons: of tasks that were cancelled one by one.
        ending: what state the execution was told to end in; None while it is not.
        ending_reason: why.
        forced: whether clean-up was told to end too.
        step: what the turn came to so far.
    """

    def __init__(self, plan: Plan, execution: str, admit: Admit) -> None:
        count = len(plan.tasks)
        self.plan = plan
        self.job = plan.job
        self.execution = execution
        self.admit = admit
        self.state = State.NOTSTARTED
        self.version = 0
        self.places = Places(plan)
        self.states = [State.NOTSTARTED] * count
        self.is_ready = bytearray(count)
        self.attempts = Attempts(count)
        self.queue = Queue()
        self.tallies = [Tally(total) for total in plan.upstreams]
        self.undecided = dict(plan.deciders)
        self.unchosen: dict[int, str] = {}
        self.to_ask: deque[int] = deque()
        self.active = 0
        self.held = False
        self.unfinished = count
        self.failed = 0
        self.failures: list[str] = []
        self.cancelled = 0
        self.cancel_reasons: dict[int, str] = {}
        self.ending: State | None = None
        self.ending_reason = ""
        self.forced = False
        self.step = Step()
        self._story: deque[Event] = deque(maxlen=_STORY_EVENTS)

    def move(self, index: int, state: State, event: Event) -> None:
        """Change where a task stands.

        Raises:
            InvalidTransition: a bug of ours; nothing was changed.
        """
        try:
            check_transition(TASK_LEGAL, self.states[index], state, f"task {event.task!r}")
        except InvalidTransition as error:
            raise self._with_story(error) from None
        self.states[index] = state
        self.emit(event)

    def move_execution(self, state: State, event: Event) -> None:
        """Change where the execution stands.

        Raises:
            InvalidTransition: a bug of ours; nothing was changed.
        """
        try:
            check_transition(EXECUTION_LEGAL, self.state, state, f"execution {self.execution}")
        except InvalidTransition as error:
            raise self._with_story(error) from None
        self.state = state
        self.emit(event)

    def emit(self, event: Event) -> None:
        """Add a fact to the step."""
        self.version += 1
        event.execution = self.execution
        event.version = self.version
        self._story.append(event)
        self.step.events.append(event)

    def order(self, instruction: Instruction) -> None:
        """Add an order to the step."""
        self.step.instructions.append(instruction)

    def take_step(self) -> Step:
        """Return what the turn came to; the next one begins."""
        step, self.step = self.step, Step()
        return step

    def begin_attempt(self, index: int, now: datetime) -> None:
        """Let the next attempt of a task run."""
        task = self.places.tasks[index]
        attempt = self.attempts.latest[index] + 1
        waits = task.waits
        event = TaskStarted(now, self.job, task=self.places.name(index), attempt=attempt)
        if waits is not None:
            event.waiting, event.reason = waits.kind, waits.text
            if waits.kind == "job":
                known = self.attempts.children.pop(index, "")
                event.child = known or child_id(self.execution, event.task, attempt, now)
        self.move(index, State.RUNNING, event)
        self.attempts.begin(index, task, now)
        self.is_ready[index] = False
        self.active += waits is None

    def running(self, task: str, attempt: int) -> int | None:
        """Return the task's place if this attempt of it is the one that runs."""
        index = self.places.find(task)
        if (
            self.states[index] is State.RUNNING
            and index not in self.places.groups
            and self.attempts.latest[index] == attempt
        ):
            return index
        return None

    def waits(self, index: int) -> bool:
        """Whether a task only waits: it holds no slot, and no crash cuts it."""
        return self.places.tasks[index].waits is not None

    def _with_story(self, error: InvalidTransition) -> InvalidTransition:
        story = [f"{event.version} {event.type} {event.task} {event.attempt or ''}".rstrip() for event in self._story]
        return InvalidTransition(str(error).partition("\n")[0], story)
