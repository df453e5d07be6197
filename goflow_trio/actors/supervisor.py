"""The supervisor: one actor for each execution. It owns the machine and the nursery of the execution's task actors.

It repeats one turn until the execution is finished: take all reports that queued, ask the machine, make its events
durable, then follow its instructions. *Durable, then act.* A retry's wait and the deadline are timers in the same
nursery, so that nothing waits for anything it does not depend on. When the nursery closes, nothing of it is left.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import trio

from goflow_trio.actors.attempt import Assignment, run_attempt
from goflow_trio.actors.gate import Account
from goflow_trio.actors.resources import Resources, UsedResources
from goflow_trio.actors.surroundings import Parent, Surroundings
from goflow_trio.core import limits
from goflow_trio.core.board import Step
from goflow_trio.core.machine import ExecutionMachine
from goflow_trio.core.messages import (
    CancelAttempt,
    DeadlineReached,
    Report,
    RetryDue,
    RunAttempt,
    SlotGranted,
    WaitForRetry,
)
from goflow_trio.core.plan import BRANCH
from goflow_trio.core.record import ExecutionRecord, TaskRecord, item_name
from goflow_trio.core.states import State
from goflow_trio.jobs.context import TaskContext
from goflow_trio.jobs.job import Job
from goflow_trio.operators.base import call_operator
from goflow_trio.operators.toll import Toll

logger = logging.getLogger("goflow_trio.supervisor")


class Supervisor:
    """The actor of one execution. `send` puts a report into its inbox; `run` is the actor.

    Args:
        machine: what decides; owned by this actor from now on.
        job: the definition, for hooks and the parameters' scope; None if it is gone.
        params: parameters of the execution.
        account: what it may claim of the engine's limits; the machine asks it too.
        surroundings: what supervisors share.
    """

    def __init__(
        self,
        machine: ExecutionMachine,
        job: Job | None,
        params: Mapping[str, Any],
        account: Account,
        surroundings: Surroundings,
    ) -> None:
        self.machine = machine
        self.durable = trio.Event()
        self.finished = trio.Event()
        self.deadline = float("inf")
        self.toll = Toll(strays=surroundings.strays)
        self.account = account
        account.tell = lambda task: self.send(SlotGranted(task))
        self._job = job
        self._params = MappingProxyType(dict(params)) if job is None else job.view_params(params)
        self._world = surroundings
        # Never full: each attempt and timer reports once, and there are only so many of them.
        self._send, self._inbox = trio.open_memory_channel[Report](float("inf"))
        self._scopes: dict[str, trio.CancelScope] = {}
        self._results: dict[str, Any] = {}
        self._resources: Resources | None = None
        self._turned = trio.Event()
        self._sent = self._received = self._taken = 0
        self._first = Step()
        self._admitted = self._restored = False

    @property
    def record(self) -> ExecutionRecord:
        """What is durable of the execution."""
        record = self._world.store.ledger.find(self.machine.execution)
        assert record is not None
        return record

    async def until_idle(self) -> None:
        """Wait until no attempt runs and what came of them is durable; for a machine on hold, nothing more comes."""
        while not self.finished.is_set() and (self.machine.active or self._inbox.statistics().current_buffer_used):
            await self._turned.wait()

    def ask(self, report: Report) -> Callable[[], Awaitable[None]]:
        """Put a report into the inbox; return what waits until its outcome is durable, or the actor has ended."""
        self.send(report)
        mine = self._sent

        async def until_taken() -> None:
            while self._taken < mine and not self.finished.is_set():
                await self._turned.wait()

        return until_taken

    async def until_over(self, task: str) -> None:
        """Wait until a task is over, nothing of it runs and that is durable; or the actor has ended."""
        while not self.finished.is_set() and not self.record.tasks[task].state.is_final:
            await self._turned.wait()

    def send(self, report: Report) -> None:
        """Put a report into the inbox; never blocks."""
        self._sent += 1
        self._send.send_nowait(report)

    def admit(self, first: Step) -> None:
        """Take the execution's place among those of its job, if there is one, and that of its first tasks.

        Executions are served in the order of these calls; their actors start in any order.

        Args:
            first: what submitting or restoring the execution came to.
        """
        self._restored = self.machine.state is not State.NOTSTARTED
        self._admitted = self.account.enter(force=self._restored)  # what was running has its place already
        starts = self._admitted and not self._restored
        self._first = _joined(first, self.machine.start(self._now())) if starts else first

    def postpone(self, first: Step) -> None:
        """Exist, but wait for `let_in` before taking any place.

        Args:
            first: what submitting or restoring the execution came to.
        """
        self._first = first

    def let_in(self) -> None:
        """Take the execution's place among those of its job: its time has come."""
        if not self.machine.finished and self.account.enter():
            self.send(SlotGranted(""))

    async def run(self) -> None:
        """Live through the execution."""
        machine = self.machine
        try:
            first = self._first if self._admitted else await self._be_admitted(self._first)
            async with trio.open_nursery() as nursery:
                if self._job is not None and self._job.timeout is not None:
                    nursery.start_soon(self._watch_deadline, self._job.timeout)
                await self._turn(first, nursery)
                while not machine.finished:
                    reports = await self._reports()
                    step = machine.receive_all(reports, self._now())
                    self._give_back_unused(reports, step)
                    await self._turn(step, nursery)
                if self._resources is not None:
                    await self._resources.aclose()
                if nursery.child_tasks:  # only timers can be left
                    nursery.cancel_scope.cancel()
        finally:
            self.account.close()
        await self._call_hooks()

    async def _be_admitted(self, submitted: Step) -> Step:
        """Start the machine as soon as the job's bound on executions allows; return what is to be done then.

        A cancel takes the execution out of the queue.
        """
        step = submitted
        admitted = False
        while not admitted and not self.machine.finished:
            await self._persist(step)
            self._wake()
            reports = await self._reports()
            admitted = SlotGranted("") in reports
            step = self.machine.receive_all([one for one in reports if one != SlotGranted("")], self._now())
        return step if self.machine.finished else _joined(step, self.machine.start(self._now()))

    def _give_back_unused(self, reports: list[Report], step: Step) -> None:
        """Release the slots that were granted to what does not run any more."""
        granted = {report.task for report in reports if isinstance(report, SlotGranted)}
        if granted:
            used = {order.task for order in step.instructions if isinstance(order, RunAttempt)}
            for task in granted - used:
                self.account.release(task)

    def _now(self) -> Any:
        return self._world.environment.now()

    async def _turn(self, step: Step, nursery: trio.Nursery) -> None:
        await self._persist(step)
        if self._resources is not None:
            self._resources.follow(step.events)
        for instruction in step.instructions:
            match instruction:
                case RunAttempt():
                    self._start_attempt(instruction, nursery)
                case WaitForRetry(task, attempt, seconds):
                    nursery.start_soon(self._wait_for_retry, task, attempt, seconds)
                case CancelAttempt(task):
                    if task in self._scopes:
                        self._scopes[task].deadline = float("inf")  # what ends now was cancelled, however long it takes
                        self._scopes[task].cancel()
                    if self.machine.forced:
                        self._world.force_child(self.record.tasks[task].attempts[-1].child)
        self._taken = self._received
        self._wake()

    def _wake(self) -> None:
        """Let those look who wait for a turn to be over."""
        self._turned.set()
        self._turned = trio.Event()

    def close(self) -> None:
        """Tell all who wait that this actor has ended."""
        self.durable.set()
        self.finished.set()
        self._wake()

    async def _persist(self, step: Step) -> None:
        if step.events:
            await self._world.store.append(step.events)
        self.durable.set()

    async def _reports(self) -> list[Report]:
        """Wait for a report, then take all that queued: they share one write."""
        reports = [await self._inbox.receive()]
        while True:
            try:
                reports.append(self._inbox.receive_nowait())
            except trio.WouldBlock:
                self._received += len(reports)
                return reports

    def _start_attempt(self, order: RunAttempt, nursery: trio.Nursery) -> None:
        name, attempt = order.task, order.attempt
        task = self.machine.planned(name).definition
        place = self.record.tasks[name]
        expands = task.over is not None and place.index is None
        scope = self._scopes[name] = trio.CancelScope()
        waited = self._waited(name) if order.waits else 0.0
        too_long = ""
        if task.timeout is not None:
            scope.deadline = trio.current_time() + task.timeout - waited
            too_long = f"it took longer than {task.timeout:g} s"
        if order.seconds is not None and trio.current_time() + order.seconds < scope.deadline:
            scope.deadline = trio.current_time() + order.seconds
            too_long = f"all its attempts together took longer than {task.total_timeout:g} s"
        record = self.record
        used = UsedResources(name)
        output = self._world.outputs.open(record.job, record.id, name, attempt)
        context = TaskContext(
            job=record.job,
            execution_id=record.id,
            task=name,
            attempt=attempt,
            params=self._params,
            results=MappingProxyType(self._results_for(place.mapped_from or name)),
            scheduled_for=record.scheduled_for,
            deadline=scope.deadline if self.machine.ending else min(scope.deadline, self.deadline),
            waited=waited,
            run_job=partial(self._run_child, name, attempt, scope),
            resources=MappingProxyType(used),
            item=place.item,
            index=place.index,
            log=output.log,
            write_output=output.write,
            report_progress=output.report_progress,
        )
        work = self._world.prepared(task)
        call = work.items if expands and work.items is not None else work.operator
        when = None if expands else work.when  # it is asked for each item
        branch = task.kind == BRANCH
        assignment = Assignment(
            call,
            context,
            scope,
            too_long,
            self._world.threads,
            output,
            self.toll,
            when,
            branch,
            expands,
            self._opener(task.name, context, used, nursery),
            None if expands else work.executor,
        )
        goes_on = self._restored and order.waits
        nursery.start_soon(self._run_attempt, assignment, goes_on, name=f"task {name}")

    def _opener(
        self, task: str, context: TaskContext, used: UsedResources, nursery: trio.Nursery
    ) -> Callable[[], Awaitable[None]] | None:
        """Return what opens the resources that a task uses."""
        if self._job is None or not any(one.is_used_by(task) for one in self._job.resources.values()):
            return None
        if self._resources is None:
            self._resources = Resources(self._job, self.record, nursery)
        resources = self._resources

        async def open_resources() -> None:
            used.update(await resources.open(task, context))

        return open_resources

    async def _run_attempt(self, assignment: Assignment, goes_on: bool) -> None:
        if goes_on:
            await self._world.outputs.take_up(assignment.output)
        with self.account.holding(assignment.context.task):
            await run_attempt(assignment, self.send, self._results.__setitem__)

    async def _run_child(
        self, name: str, attempt: int, scope: trio.CancelScope, job: str, params: Mapping[str, Any]
    ) -> Any:
        attempts = self.record.tasks[name].attempts
        child = attempts[-1].child
        again = any(one.child == child for one in attempts[:-1])
        parent = Parent(self.machine.execution, name, attempt, child, again, scope)
        return await self._world.run_child(parent, job, params)

    def _waited(self, name: str) -> float:
        """Return how long ago the running attempt of a task began, by the wall clock: it may go on after a restart."""
        begun = self.record.tasks[name].attempts[-1].started
        return max(0.0, float((self._now() - begun).total_seconds()))

    def _results_for(self, name: str) -> dict[str, Any]:
        """Return the results of a task's direct upstreams: as returned here, as stored after a restart."""
        results = {}
        tasks = self.record.tasks
        for upstream in self.machine.plan.upstream_names.get(name, ()):
            if tasks[upstream].items is not None:
                results[upstream] = self._results_of_items(tasks[upstream])
            elif tasks[upstream].state is State.SUCCESSFUL:
                results[upstream] = self._results.get(upstream, tasks[upstream].result)
        return results

    def _results_of_items(self, mapped: TaskRecord) -> list[Any]:
        """Return the results of a map's items, in order; None for one that was not successful (yet)."""
        known = self._results.get(mapped.name)
        if known is None:
            tasks = self.record.tasks
            known = []
            for index in range(mapped.items or 0):
                item = tasks[item_name(mapped.name, index)]
                known.append(self._results.get(item.name, item.result) if item.state is State.SUCCESSFUL else None)
            if mapped.state.is_final:
                self._results[mapped.name] = known
        return list(known)

    async def _wait_for_retry(self, task: str, attempt: int, seconds: float) -> None:
        await trio.sleep(seconds)
        self.send(RetryDue(task, attempt))

    async def _watch_deadline(self, seconds: float) -> None:
        started = self.record.started if self._restored else None
        if started is not None:
            seconds -= (self._now() - started).total_seconds()
        self.deadline = trio.current_time() + max(0.0, seconds)
        await trio.sleep_until(self.deadline)
        self.send(DeadlineReached())

    async def _call_hooks(self) -> None:
        """Call what the job wants called at its end, for a while; what goes wrong is logged and changes nothing."""
        if self._job is None:
            return
        record = self.record
        hooks = {State.SUCCESSFUL: self._job.on_success, State.FAILED: self._job.on_failure}.get(record.state, ())
        for hook in hooks:
            kind = "on_success" if record.state is State.SUCCESSFUL else "on_failure"
            context = TaskContext(
                record.job,
                record.id,
                kind,
                params=self._params,
                results=MappingProxyType(record.results),
                scheduled_for=record.scheduled_for,
                record=record,
                log=partial(logger.info, "execution %s of job %s, %s: %s", record.id, record.job, kind),
            )
            try:
                with trio.fail_after(limits.HOOK_SECONDS):
                    await call_operator(hook, context, limiter=self._world.threads)
            except trio.Cancelled:
                raise
            except BaseException:  # as with any work of the user's
                logger.warning("execution %s of job %s: its %s hook failed", record.id, record.job, kind, exc_info=True)


def _joined(first: Step, second: Step) -> Step:
    return Step(first.events + second.events, first.instructions + second.instructions)
