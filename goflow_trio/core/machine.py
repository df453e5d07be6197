"""What happens next in one execution. Pure: it is told what happened and answers with facts and orders.

`submit`, `start`, `receive` and `restore` each return a `Step`: the events that are now true, and the instructions to
follow once they are durable. Two kinds of rules act:

- *event-triggered*: a report moves the one task it is about (`core/reports.py`);
- *state-triggered*: when a task reaches a final state, the tallies of its downstreams move and their trigger rules are
  asked; a skip settles its own downstreams; until nothing moves (`core/settling.py`).

Both work on a `Board`, which is where an execution stands and the one way to change that. The order of output is the
order of declaration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from goflow_trio.core.board import Admit, Board, Step
from goflow_trio.core.messages import ExecutionReopened, ExecutionStarted, ExecutionSubmitted, Report
from goflow_trio.core.plan import Plan, PlannedTask
from goflow_trio.core.record import ExecutionRecord, reopened_record
from goflow_trio.core.reports import take_report
from goflow_trio.core.restoring import load, resume
from goflow_trio.core.settling import settle
from goflow_trio.core.states import EXECUTION_REOPENED, TASK_REOPENED, State, check_transition


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
        self.plan = plan
        self.execution = execution
        self._board = Board(plan, execution, admit)

    # Where it stands ------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the execution stands."""
        return self._board.state

    @property
    def version(self) -> int:
        """How many events it has come to."""
        return self._board.version

    @property
    def finished(self) -> bool:
        """Whether the execution reached its final state."""
        return self._board.state.is_final

    @property
    def ending(self) -> bool:
        """Whether the execution was told to end; what still starts is clean-up."""
        return self._board.ending is not None

    @property
    def forced(self) -> bool:
        """Whether clean-up was told to end too."""
        return self._board.forced

    @property
    def active(self) -> int:
        """How many attempts hold a slot."""
        return self._board.active

    @property
    def held(self) -> bool:
        """Whether nothing starts any more."""
        return self._board.held

    def task_state(self, name: str) -> State:
        """Return where a task, or an item of a map, stands."""
        return self._board.states[self._board.places.find(name)]

    def planned(self, name: str) -> PlannedTask:
        """Return what is known of a task; of an item, what is known of its map."""
        return self._board.places.tasks[self._board.places.find(name)]

    def is_ready(self, name: str) -> bool:
        """Return whether a task may run as far as the graph is concerned, and has not started."""
        return bool(self._board.is_ready[self._board.places.find(name)])

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
        by: str = "",
    ) -> Step:
        """Begin to exist. Nothing runs before `start`."""
        self._board.emit(
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
                by=by,
            )
        )
        return self._end_turn(now)

    def start(self, now: datetime) -> Step:
        """Let the first tasks run."""
        self._board.move_execution(State.RUNNING, ExecutionStarted(now, self.plan.job))
        self._board.to_ask.extend(range(len(self._board.states)))
        return self._end_turn(now)

    def receive(self, report: Report, now: datetime) -> Step:
        """Take one report. One that is out of date (a superseded attempt, a finished execution) changes nothing."""
        return self.receive_all((report,), now)

    def receive_all(self, reports: Iterable[Report], now: datetime) -> Step:
        """Take the reports that arrived together as one turn, so that they share one write."""
        board = self._board
        for report in reports:
            if not board.state.is_final:
                take_report(board, report, now)
                settle(board, now)
        return self._end_turn(now)

    def hold(self) -> None:
        """Start nothing more: the engine is closing. What runs may still end and be recorded."""
        self._board.held = True

    def _end_turn(self, now: datetime) -> Step:
        settle(self._board, now)
        return self._board.take_step()

    # Going on -------------------------------------------------------------------------------------

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
        board = machine._board
        load(board, record)
        if record.state is State.RUNNING or record.ending is not None:
            resume(board, record, now)
            board.to_ask.extend(range(len(board.states)))
        return machine, machine._end_turn(now)

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
        load(machine._board, reopened_record(record, event))
        return machine, Step([event])
