"""A task: one unit of work of a job, and its edges to other tasks. It knows nothing of executions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from attrs import frozen

from goflow_trio.errors import DefinitionError
from goflow_trio.jobs.checks import check_seconds
from goflow_trio.jobs.names import check_name
from goflow_trio.jobs.retry import ConstantDelay, RetryDelay
from goflow_trio.jobs.trigger_rules import RuleFunction, TriggerRule, rule_function

EXECUTOR_NAMES: Final = frozenset({"thread", "process"})
"""Executors that the engine makes by itself."""

_Other = TypeVar("_Other", bound="Task | Iterable[Task]")


@frozen
class Wait:
    """What an operator waits for, if waiting is all it does. It says so by an attribute `waits` that holds one.

    An attempt of such an operator holds no slot. The engine's end does not cut it: after a restart the same attempt
    is run again, with `context.waited` telling how long it has waited already.

    Args:
        kind: one word: `sleep`, `condition`, `approval`, `job`.
        text: for people: what is waited for.
    """

    kind: str
    text: str = ""


class Task:
    """What a job does in one place of its graph.

    `a >> b` and `a >> [b, c]` say that b and c come after a; `b << a` says the same from the other side. Both
    return the right-hand side, so that `a >> b >> c` is a chain.

    Args:
        name: unique in the job.
        operator: the work: an object with `run(context)`, or any callable. A coroutine function is awaited on
            trio; a plain function is called in a worker thread.
        retries: attempts after the first.
        retry_delay: the wait between attempts, see `jobs/retry.py`.
        trigger_rule: when to start, given how the upstreams ended: a `TriggerRule`, its wire name, or a function
            `Tally -> Verdict`.
        timeout: seconds one attempt may take; None is no limit of its own.
        total_timeout: seconds all attempts may take together, with the waits between them, also across a restart.
        idempotent: whether running it twice does no harm. If so, an attempt cut by a crash of the server just
            runs again; if not, the cut uses up a retry.
        pool: name of the pool (see `open_engine`) that it needs slots of while it runs.
        pool_slots: how many.
        priority: among tasks that wait for a slot, higher starts first.
        group: name of a group of tasks that are shown together; see `Job.group`.
        executor: where a plain function runs: an object such as `Process(limit=2)`, or `"thread"` or `"process"` for
            one that the engine shares between all who say so. None, or `"here"`: the engine's loop and its threads.
        when: a condition: a function of the context, sync or async, asked when the task would run, before each
            attempt. Does it not hold, the task is skipped.

    Attributes:
        over: what it is mapped over, if `Job.map` made it: the name of an upstream task, or a function of the context.
        max_active: how many of its items run at once, if it is mapped; None is no bound of its own.

    Raises:
        DefinitionError: an argument is out of range. The message names the task and the mend.
    """

    def __init__(
        self,
        name: str,
        operator: Any,
        *,
        retries: int = 0,
        retry_delay: RetryDelay | None = None,
        trigger_rule: TriggerRule | str | RuleFunction = TriggerRule.ALL_SUCCESSFUL,
        timeout: float | None = None,
        total_timeout: float | None = None,
        idempotent: bool = False,
        pool: str | None = None,
        pool_slots: int = 1,
        priority: int = 0,
        executor: Any = None,
        when: Callable[..., Any] | None = None,
        group: str = "",
    ) -> None:
        self.name = check_name(name, "task")
        if not (callable(operator) or callable(getattr(operator, "run", None))) or isinstance(operator, type):
            raise DefinitionError(
                f"task {name!r}: its operator must be an object with run(context) or a callable, got {operator!r}"
            )
        self.operator = operator
        self.retries = _whole(name, "retries", retries, least=0)
        self.retry_delay: RetryDelay = ConstantDelay(1) if retry_delay is None else retry_delay
        if not isinstance(self.retry_delay, RetryDelay):
            raise DefinitionError(
                f"task {name!r}: retry_delay must have seconds(attempt, key), as ConstantDelay(1) has; "
                f"got {retry_delay!r}"
            )
        try:
            rule_function(trigger_rule)
        except DefinitionError as error:
            raise DefinitionError(f"task {name!r}: {error}") from None
        self.trigger_rule = TriggerRule(trigger_rule) if isinstance(trigger_rule, str) else trigger_rule
        self.timeout = check_seconds(f"task {name!r}: timeout", timeout)
        self.total_timeout = check_seconds(f"task {name!r}: total_timeout", total_timeout)
        self.idempotent = idempotent
        self.pool = None if pool is None else check_name(pool, f"task {name!r}: pool")
        self.pool_slots = _whole(name, "pool_slots", pool_slots, least=1)
        self.priority = _whole(name, "priority", priority)
        self.executor = _executor(name, executor)
        if when is not None and not callable(when):
            raise DefinitionError(f"task {name!r}: when must be a function of the context, got {when!r}")
        self.when = when
        self.group = check_name(group, f"task {name!r}: group") if group else ""
        self.over: str | Callable[..., Any] | None = None
        self.max_active: int | None = None
        self._downstream: dict[Task, None] = {}  # a set that keeps the order of the edges

    @property
    def waits(self) -> Wait | None:
        """What its operator waits for, if that is all it does."""
        waits = getattr(self.operator, "waits", None)
        return waits if isinstance(waits, Wait) else None

    @property
    def kind(self) -> str:
        """What more it is than a task that does its work: a `"branch"` or a `"map"`."""
        if self.over is not None:
            return "map"
        return "branch" if getattr(self.operator, "chooses", False) is True else ""

    @property
    def downstream(self) -> tuple[Task, ...]:
        """The tasks directly after this one, in the order their edges were drawn."""
        return tuple(self._downstream)

    def set_downstream(self, other: Task) -> None:
        """Draw the edge from this task to `other`; drawing it twice is drawing it once.

        Raises:
            DefinitionError: `other` is this task or no task.
        """
        if not isinstance(other, Task):
            raise DefinitionError(f"task {self.name!r}: only a Task can be its downstream, got {other!r}")
        if other is self:
            raise DefinitionError(f"task {self.name!r} cannot be its own downstream; remove that edge")
        self._downstream[other] = None

    def __rshift__(self, other: _Other) -> _Other:
        for task in _tasks(other):
            self.set_downstream(task)
        return other

    def __lshift__(self, other: _Other) -> _Other:
        for task in _tasks(other):
            task.set_downstream(self)
        return other

    def __rrshift__(self, others: Iterable[Task]) -> Task:
        """Draw `[a, b] >> self`."""
        for task in _tasks(others):
            task.set_downstream(self)
        return self

    def __rlshift__(self, others: Iterable[Task]) -> Task:
        """Draw `[a, b] << self`."""
        for task in _tasks(others):
            self.set_downstream(task)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the work directly, so that a decorated function can still be tested as a function."""
        return self.operator(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name!r}>"


def _tasks(other: object) -> list[Task]:
    if isinstance(other, Task):
        return [other]
    given = list(other) if isinstance(other, Iterable) and not isinstance(other, str) else [other]
    tasks = [task for task in given if isinstance(task, Task)]
    if len(tasks) < len(given):
        raise DefinitionError(f">> and << take a task or a list of tasks, got {other!r}")
    return tasks


def _executor(task: str, value: Any) -> Any:
    """Return an executor or its name; None for `here`."""
    if value is None or value == "here":
        return None
    if isinstance(value, str):
        known = value in EXECUTOR_NAMES
    else:
        methods = [getattr(value, method, None) for method in ("check", "run", "aclose")]
        known = all(map(callable, methods)) and not isinstance(value, type)
    if known:
        return value
    raise DefinitionError(
        f"task {task!r}: executor must be 'here', 'thread', 'process' or an object such as Process(limit=2),"
        f" got {value!r}"
    )


def _whole(task: str, what: str, value: object, least: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise DefinitionError(f"task {task!r}: {what} must be a whole number, got {value!r}")
    if least is not None and value < least:
        raise DefinitionError(f"task {task!r}: {what} must be {least} or more, got {value}")
    return value
