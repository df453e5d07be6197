"""A job, read once and laid out for the machine: indices instead of names, rules as functions.

The part of it that an execution's correctness hangs on (names, edges, rules) has a digest and can be stored, so that an
execution that a restart finds unfinished goes on with the graph it began with, even if the job has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from attrs import evolve, field, frozen

from goflow_trio.core import limits
from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.retry import ConstantDelay, RetryDelay
from goflow_trio.jobs.task import Task, Wait
from goflow_trio.jobs.trigger_rules import (
    RuleFunction,
    Tally,
    TriggerRule,
    Verdict,
    all_done,
    rule_function,
    rule_name,
)

Shape = tuple[tuple[str, tuple[int, ...], str, str], ...]
"""A graph as plain data: for each task its name, the indices of its downstreams, the name of its rule, its kind."""

BRANCH = "branch"
"""Kind of a task that chooses which of the tasks after it run."""

MAP = "map"
"""Kind of a task that is mapped over items known at run time. A plain task is of the kind `""`."""

_DEFAULT_DELAY = ConstantDelay(1)


@frozen
class PlannedTask:
    """What the machine asks of one task.

    Args:
        name: the task's name.
        downstream: indices of the tasks directly after it.
        rule: when it starts.
        rule_name: the rule's name, for reasons.
        is_cleanup: whether it also runs when the execution is told to end.
        kind: what more it is than a task that does its work: `BRANCH`, `MAP`, or nothing.
        waits: if its work is but a wait, for what; it then holds no slot, and goes on after a restart.
        retries: attempts after the first.
        retry_delay: the wait between attempts.
        idempotent: whether an attempt cut by a crash just runs again.
        priority: among ready tasks, higher starts first.
        max_items: of a map, how many items run at once; None is no bound of its own.
        total_timeout: seconds all attempts and the waits between them may take, or None.
        item: of a map, what is planned for each of its items.
        definition: the task it was read from; None if the job no longer has it.
    """

    name: str
    downstream: tuple[int, ...]
    rule: RuleFunction
    rule_name: str
    is_cleanup: bool
    kind: str = ""
    waits: Wait | None = None
    retries: int = 0
    retry_delay: RetryDelay = _DEFAULT_DELAY
    idempotent: bool = False
    priority: int = 0
    max_items: int | None = None
    total_timeout: float | None = None
    item: PlannedTask | None = None
    definition: Any = field(default=None, repr=False)


@frozen
class Plan:
    """A job as one execution runs it.

    Args:
        job: the job's name.
        tasks: in the job's order.
        upstreams: number of direct upstreams of each task.
        upstream_names: their names, by task; a task without any is absent.
        deciders: how many branches are directly before each task; one without any is absent.
        index: position of each task by name.
        max_active: how many tasks run at once.
        timeout: seconds the execution may take, or None.
        digest: names the shape; equal shapes have equal digests.
    """

    job: str
    tasks: tuple[PlannedTask, ...]
    upstreams: tuple[int, ...]
    upstream_names: dict[str, list[str]]
    deciders: dict[int, int]
    index: dict[str, int]
    max_active: int
    timeout: float | None
    digest: str

    @property
    def names(self) -> tuple[str, ...]:
        """The task names, in order."""
        return tuple(self.index)

    def shape(self) -> Shape:
        """Return the part to be stored."""
        return tuple((task.name, task.downstream, task.rule_name, task.kind) for task in self.tasks)


def plan_job(job: Job) -> Plan:
    """Read a validated job.

    Raises:
        DefinitionError: it has more tasks, or longer names in all, than `core/limits.py` allows.
    """
    if len(job) > limits.TASKS_PER_JOB:
        raise DefinitionError(f"job {job.name!r} has {len(job)} tasks; at most {limits.TASKS_PER_JOB} are supported")
    if sum(len(task.name) for task in job) > limits.TASK_NAMES_CHARS:
        raise DefinitionError(f"job {job.name!r}: its task names are over {limits.TASK_NAMES_CHARS} characters in all")
    index = {task.name: number for number, task in enumerate(job)}
    shape = tuple(
        (task.name, tuple(index[after.name] for after in task.downstream), rule_name(task.trigger_rule), task.kind)
        for task in job
    )
    return plan_shape(job.name, shape, job)


def plan_shape(name: str, shape: Shape, job: Job | None) -> Plan:
    """Read a stored shape; work, retries and rules come from `job` where it still has the task.

    Args:
        name: the job's name.
        shape: the graph that was stored.
        job: the job as it is defined now; None if it is not registered any more.
    """
    upstreams = [0] * len(shape)
    upstream_names: dict[str, list[str]] = {}
    deciders: dict[int, int] = {}
    for task, downstream, _, kind in shape:
        for after in downstream:
            upstreams[after] += 1
            if kind == BRANCH:
                deciders[after] = deciders.get(after, 0) + 1
            upstream_names.setdefault(shape[after][0], []).append(task)
    return Plan(
        job=name,
        tasks=tuple(_planned(job, *row, upstreams=count) for row, count in zip(shape, upstreams, strict=True)),
        upstreams=tuple(upstreams),
        upstream_names=upstream_names,
        deciders=deciders,
        index={row[0]: number for number, row in enumerate(shape)},
        max_active=(job.max_active_tasks if job is not None else None) or limits.ACTIVE_TASKS_PER_EXECUTION,
        timeout=job.timeout if job is not None else None,
        digest=digest_of(shape),
    )


def _planned(
    job: Job | None, name: str, downstream: Sequence[int], rule: str, kind: str, *, upstreams: int
) -> PlannedTask:
    task = job[name] if job is not None and name in job else None
    if task is not None and rule_name(task.trigger_rule) == rule:
        function = rule_function(task.trigger_rule)
    elif rule in frozenset(TriggerRule):
        function = rule_function(rule)
    else:
        function = _gone
    planned = PlannedTask(
        name=name,
        downstream=tuple(downstream),
        rule=function,
        rule_name=rule,
        is_cleanup=function is all_done and upstreams > 0,
        kind=kind,
    )
    if task is not None and (task.kind == MAP) == (kind == MAP):  # else it is gone, or no longer the same thing
        planned = _with_definition(planned, task)
    if kind != MAP:
        return planned
    return evolve(planned, waits=None, item=evolve(planned, kind=""))


def _with_definition(planned: PlannedTask, task: Task) -> PlannedTask:
    return evolve(
        planned,
        waits=task.waits,
        retries=task.retries,
        retry_delay=task.retry_delay,
        idempotent=task.idempotent,
        priority=task.priority,
        max_items=task.max_active,
        total_timeout=task.total_timeout,
        definition=task,
    )


def _gone(_tally: Tally) -> Verdict:
    raise DefinitionError("its trigger rule is no longer defined")


def digest_of(shape: Shape) -> str:
    """Return 16 bytes of BLAKE2b over the shape, as hex."""
    return hashlib.blake2b(repr(shape).encode(), digest_size=16).hexdigest()
