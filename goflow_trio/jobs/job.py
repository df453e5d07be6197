"""A job: a named graph of tasks, when to run it and within which bounds. It knows nothing of executions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, overload

from goflow_trio.errors import CycleError, DefinitionError, ScheduleError, UnknownTask
from goflow_trio.jobs.checks import (
    check_aware,
    check_choice,
    check_count,
    check_hooks,
    check_names,
    check_seconds,
    check_token,
)
from goflow_trio.jobs.graph import find_cycle, topological_order
from goflow_trio.jobs.names import check_name
from goflow_trio.jobs.params import check_params, params_schema, read_params, view_params
from goflow_trio.jobs.resource import Resource, check_factory
from goflow_trio.jobs.retention import Retention, as_retention
from goflow_trio.jobs.task import Task
from goflow_trio.jobs.watch import FileWatch
from goflow_trio.schedules import Schedule
from goflow_trio.schedules.assemble import Exclusion, Given, assemble, schedule_texts

Overlap = Literal["allow", "skip", "queue", "cancel"]
Misfire = Literal["latest", "skip", "all"]
Dst = Literal["once", "reference"]

_OVERLAPS = ("allow", "skip", "queue", "cancel")
_MISFIRES = ("latest", "skip", "all")
_DSTS = ("once", "reference")

TaskLike = Task | str


class Job:
    """A directed acyclic graph of tasks under a name.

    The graph is read when the job is registered (`validate`); each execution then runs on that reading.

    Args:
        name: unique among the jobs of an engine.
        schedule: when it runs by itself: cron text of 5 fields (6 with seconds first), `@daily` …, `@every 90s`,
            or any object with `next_after(instant)`; or a list of these. None: only when submitted.
        active: whether the schedule is switched on when the job is first seen; a toggle is remembered and wins.
        timezone: IANA zone the schedule is read in.
        params: parameters and their defaults, which a submit may override; or an attrs class whose fields give their
            names, types and defaults.
        timeout: seconds a whole execution may take; then what runs is cancelled, clean-up runs, and it is failed.
        max_active_executions: how many executions of this job run at once; further ones wait their turn.
        max_active_tasks: how many tasks of one execution run at once.
        max_active_tasks_total: how many tasks of all its executions together run at once.
        overlap: what a due instant does while an earlier execution runs: run beside it (`allow`, as Goflow), not
            at all (`skip`), after it (`queue`), or instead of it (`cancel`).
        misfire: what becomes of instants that passed while nobody looked: one run for the `latest`, none (`skip`)
            or each (`all`). Those without a run are recorded as missed.
        catchup_window: seconds into the past that misfires are made up for; None is one year.
        dst: how a local time that clocks skip or repeat is treated: it runs `once`, or as in Goflow's cron
            (`reference`: skipped and doubled).
        retention: how many finished executions are kept (a number), or for how long (a `timedelta`), or both
            (`Retention`); by default 100,000 and 90 days.
        jitter: spreads runs over this many whole seconds after each instant, by an offset that is stable for it.
        start: instants before it do not count (aware).
        end: instants from it on do not count (aware).
        exclude: when nothing is due, though the schedule says so: local dates, paths of iCalendar files (`.ics`, with
            the extra of that name), functions of an instant that say True.
        after: names of jobs; it runs once after each execution of one of them that was successful.
        after_done: names of jobs; it runs once after each execution of one of them, however that ended.
        webhook: the token with which others may run it, and nothing else: a `Secret`, or a text of 16 characters or
            more. None: nobody may.
        watch: files that it runs for, each version once, with the parameter `path`.
        tags: labels to find the job by.
        description: what it is for.
        owner: whom to ask about it.
        on_failure: operators or functions to call when an execution failed, with the record of it in
            `context.record`. One that is cancelled is no failure.
        on_success: the same when an execution was successful.

    Raises:
        DefinitionError: an argument is wrong. The message names the job and the mend.
    """

    def __init__(
        self,
        name: str,
        *,
        schedule: Given = None,
        active: bool = False,
        timezone: str = "UTC",
        params: Mapping[str, Any] | type | None = None,
        timeout: float | None = None,
        max_active_executions: int | None = None,
        max_active_tasks: int | None = None,
        max_active_tasks_total: int | None = None,
        overlap: Overlap = "allow",
        misfire: Misfire = "latest",
        catchup_window: float | None = None,
        dst: Dst = "once",
        retention: Retention | int | timedelta | None = None,
        jitter: int = 0,
        start: datetime | None = None,
        end: datetime | None = None,
        exclude: Iterable[Exclusion] = (),
        after: str | Iterable[str] = (),
        after_done: str | Iterable[str] = (),
        webhook: Any = None,
        watch: FileWatch | None = None,
        tags: Iterable[str] = (),
        description: str = "",
        owner: str = "",
        on_failure: Any = (),
        on_success: Any = (),
    ) -> None:
        self.name = check_name(name, "job")
        where = f"job {name!r}:"
        self.active = active
        self.timezone = timezone
        self.params_type = params if isinstance(params, type) else None
        self.params: Mapping[str, Any] = read_params(where, params)
        self.timeout = check_seconds(f"{where} timeout", timeout)
        self.max_active_executions = check_count(f"{where} max_active_executions", max_active_executions)
        self.max_active_tasks = check_count(f"{where} max_active_tasks", max_active_tasks)
        self.max_active_tasks_total = check_count(f"{where} max_active_tasks_total", max_active_tasks_total)
        self.overlap = check_choice(f"{where} overlap", overlap, _OVERLAPS)
        self.misfire = check_choice(f"{where} misfire", misfire, _MISFIRES)
        self.catchup_window = check_seconds(f"{where} catchup_window", catchup_window)
        try:
            self.retention = as_retention(retention)
        except DefinitionError as error:
            raise DefinitionError(f"{where} {error}") from None
        self.dst = check_choice(f"{where} dst", dst, _DSTS)
        self.jitter = check_count(f"{where} jitter", jitter or None) or 0
        self.start = check_aware(f"{where} start", start)
        self.end = check_aware(f"{where} end", end)
        if isinstance(tags, str):
            raise DefinitionError(f"{where} tags must be a list of names, got {tags!r}")
        self.tags = tuple(check_name(tag, f"{where} tag") for tag in tags)
        self.description = description
        self.owner = owner
        self.on_failure = check_hooks(f"{where} on_failure", on_failure)
        self.on_success = check_hooks(f"{where} on_success", on_success)
        try:
            self.schedule: Schedule | None = assemble(
                schedule,
                timezone=timezone,
                dst=self.dst,
                exclude=exclude,
                start=self.start,
                end=self.end,
                jitter=self.jitter,
                key=name,
            )
        except ScheduleError as error:
            raise ScheduleError(f"{where} {error}") from None
        self.after = check_names(f"{where} after", after)
        self.after_done = check_names(f"{where} after_done", after_done)
        self.webhook = check_token(f"{where} webhook", webhook)
        self.watch = watch
        known = self.params_schema().get("properties", {})
        if watch is not None and known and "path" not in known:
            raise DefinitionError(f"{where} it watches {watch.pattern!r}, so it needs a parameter 'path'; add it")
        self.schedule_texts = schedule_texts(schedule)
        self.schedule_text = "; ".join(self.schedule_texts)
        self._tasks: dict[str, Task] = {}
        self._resources: dict[str, Resource] = {}
        self._group = ""
        if self.schedule is not None and (missing := self.params_schema().get("required")):
            raise DefinitionError(f"{where} params: {missing[0]!r} has no default, so the schedule could not run it")

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks, in the order they were added."""
        return tuple(self._tasks.values())

    def add(self, task: Task) -> Task:
        """Add a task and return it.

        Raises:
            DefinitionError: it is no Task, or the name is taken.
        """
        if not isinstance(task, Task):
            raise DefinitionError(f"job {self.name!r}: add takes a Task, got {task!r}")
        if not task.group:
            task.group = self._group
        if task.name in self._tasks:
            raise DefinitionError(f"job {self.name!r} has a task {task.name!r} already; task names are unique in a job")
        self._tasks[task.name] = task
        return task

    @overload
    def task(self, function: Callable[..., Any], /) -> Task: ...
    @overload
    def task(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        upstream: TaskLike | Iterable[TaskLike] = (),
        over: TaskLike | Callable[..., Any] | Iterable[Any] | None = None,
        **options: Any,
    ) -> Callable[[Callable[..., Any]], Task]: ...
    def task(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        upstream: TaskLike | Iterable[TaskLike] = (),
        over: TaskLike | Callable[..., Any] | Iterable[Any] | None = None,
        **options: Any,
    ) -> Task | Callable[[Callable[..., Any]], Task]:
        """Make a task of a function: `@job.task` or `@job.task(retries=3, upstream=[extract])`.

        The result is the `Task`, which can still be called as the function.

        Args:
            function: the work, when used without parentheses.
            name: the task's name; the function's by default.
            upstream: tasks (or names of tasks) of this job that come before.
            over: makes it a task for each item of this list, see `map`.
            **options: the keyword arguments of `Task`; with `over`, those of `map`.
        """

        def make(work: Callable[..., Any]) -> Task:
            task_name = name if name is not None else getattr(work, "__name__", "")
            if over is not None:
                return self.map(task_name, work, over=over, upstream=upstream, **options)
            befores = [upstream] if isinstance(upstream, TaskLike) else list(upstream)
            resolved = [self._own(before) for before in befores]
            try:
                task = Task(task_name, work, **options)
            except DefinitionError as error:
                raise DefinitionError(f"job {self.name!r}: {error}") from None
            self.add(task)
            for before in resolved:
                before.set_downstream(task)
            return task

        return make if function is None else make(function)

    def map(
        self,
        name: str,
        operator: Any,
        *,
        over: TaskLike | Callable[..., Any] | Iterable[Any],
        upstream: TaskLike | Iterable[TaskLike] = (),
        max_active: int | None = None,
        **options: Any,
    ) -> Task:
        """Add a task that runs once for each item of a list that is known at run time, and return it.

        Each item is a task execution of its own, `name[0]`, `name[1]` …, with retries and time-outs of its own; its
        work finds `context.item` and `context.index`. A trigger rule downstream counts the items, not the map. Its
        result is the list of their results, in order. Without any items it is skipped.

        Args:
            name: the task's name.
            operator: the work of one item, as for `Task`.
            over: an upstream task of this job, or its name, whose result is the list (the edge is drawn); a function of
                the context, sync or async, that returns it, and that may be called again after a crash; or the list.
            upstream: further tasks of this job that come before.
            max_active: how many items run at once.
            **options: the keyword arguments of `Task`; they are those of each item.

        Raises:
            DefinitionError: an argument is wrong.
        """
        where = f"job {self.name!r}: map {name!r}:"
        befores = [upstream] if isinstance(upstream, TaskLike) else list(upstream)
        if isinstance(over, TaskLike):
            befores = [over, *befores]
        elif isinstance(over, Iterable) and not isinstance(over, Mapping) and not callable(over):
            over = partial(list, tuple(over))
        elif not callable(over):
            raise DefinitionError(f"{where} over takes a task of the job, a function or a list, got {over!r}")
        if getattr(operator, "chooses", False) is True:
            raise DefinitionError(f"{where} a Branch cannot be mapped; let it choose before or after the map")
        resolved = [self._own(before) for before in befores]
        try:
            task = Task(name, operator, **options)
        except DefinitionError as error:
            raise DefinitionError(f"job {self.name!r}: {error}") from None
        task.over = resolved[0].name if isinstance(over, TaskLike) else over
        task.max_active = check_count(f"{where} max_active", max_active)
        self.add(task)
        for before in resolved:
            before.set_downstream(task)
        return task

    @contextmanager
    def group(self, name: str) -> Iterator[None]:
        """Put the tasks that are added meanwhile into a group: `with job.group("load"): job.add(…)`.

        A group is a name for people: tasks of one are shown together. One inside another is named `outer/inner`.

        Raises:
            DefinitionError: the name cannot be used.
        """
        outer = self._group
        self._group = f"{outer}/{name}" if outer else name
        try:
            check_name(self._group, f"job {self.name!r}: group")
            yield
        finally:
            self._group = outer

    @property
    def groups(self) -> dict[str, list[str]]:
        """Names of the tasks in each group, by the group's name."""
        groups: dict[str, list[str]] = {}
        for task in self:
            if task.group:
                groups.setdefault(task.group, []).append(task.name)
        return groups

    @property
    def resources(self) -> Mapping[str, Resource]:
        """The declared resources, by name."""
        return MappingProxyType(self._resources)

    def resource(
        self, name: str, factory: Callable[..., Any], *, users: TaskLike | Iterable[TaskLike] | None = None
    ) -> None:
        """Declare what tasks of one execution share: `job.resource("db", connect)`.

        It is opened before the first task that uses it, closed after the last, also on a cancel, and found as
        `context.resources["db"]`. Each execution has its own, and after a restart opens a new one.

        Args:
            name: what it is called.
            factory: returns an async context manager, for instance a function under
                `contextlib.asynccontextmanager`; called with the context of the attempt that opens it, or with nothing.
            users: tasks of this job that use it; None if all do.

        Raises:
            DefinitionError: the name is taken, or an argument is wrong.
        """
        where = f"job {self.name!r}: resource {name!r}"
        check_name(name, f"job {self.name!r}: resource")
        if name in self._resources:
            raise DefinitionError(f"{where} is declared already; its name is unique in a job")
        check_factory(where, factory)
        named = None
        if users is not None:
            tasks = [users] if isinstance(users, TaskLike) else list(users)
            named = frozenset(self._own(task).name for task in tasks)
        self._resources[name] = Resource(name, factory, named)

    def set_downstream(self, upstream: TaskLike, downstream: TaskLike) -> None:
        """Draw the edge `upstream >> downstream` between two tasks of this job, given as tasks or names.

        Raises:
            DefinitionError: one of them is not in this job, or both are the same.
        """
        self._own(upstream).set_downstream(self._own(downstream))

    def _own(self, task: TaskLike) -> Task:
        if not isinstance(task, TaskLike):
            raise DefinitionError(f"job {self.name!r}: an edge joins tasks or names of tasks, got {task!r}")
        name = task if isinstance(task, str) else task.name
        own = self._tasks.get(name)
        if own is None or (isinstance(task, Task) and own is not task):
            raise DefinitionError(
                f"job {self.name!r} has no task {name!r}; add it with job.add(Task({name!r}, …)) before its edges"
            )
        return own

    def __getitem__(self, name: str) -> Task:
        try:
            return self._tasks[name]
        except KeyError:
            raise UnknownTask(f"job {self.name!r} has no task {name!r}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def graph(self) -> dict[str, list[str]]:
        """Downstream names by task name, both in the order of definition."""
        return {task.name: [after.name for after in task.downstream] for task in self}

    def check_params(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters of an execution, defaults filled in, as plain data.

        Raises:
            ParamsError: some are unknown, missing or of the wrong type; its `fields` say which and why.
        """
        return check_params(self.name, self.params_type, self.params, given)

    def view_params(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the stored parameters of an execution as its tasks see them."""
        return view_params(self.params_type, values)

    def params_schema(self) -> dict[str, Any]:
        """Return the parameters as a JSON Schema of an object, to make a form of."""
        return params_schema(self.params_type, self.params)

    def validate(self) -> None:
        """Check the whole: every edge leads to a task of this job, and no task waits for itself.

        Raises:
            DefinitionError: an edge leads to a task that was never added.
            CycleError: tasks wait for each other; it carries the cycle as a path.
        """
        for task in self:
            for after in task.downstream:
                if self._tasks.get(after.name) is not after:
                    raise DefinitionError(
                        f"job {self.name!r}: the edge {task.name!r} >> {after.name!r} leads to a task that is not "
                        f"in the job; add it with job.add, or remove the edge"
                    )
        for mapped in [task.name for task in self if task.over is not None]:
            clash = next((name for name in self._tasks if name.startswith(f"{mapped}[")), None)
            if clash is not None:
                raise DefinitionError(
                    f"job {self.name!r}: the task {clash!r} is named as an item of the map {mapped!r}; rename it"
                )
        graph = self.graph
        if topological_order(graph) is None:
            raise CycleError(self.name, find_cycle(graph) or [])

    def __repr__(self) -> str:
        return f"<Job {self.name!r}, {len(self)} tasks>"


def build_job(source: Job | Callable[[], Job]) -> Job:
    """Return a validated job from a Job or a factory of one, as Goflow's `AddJob` takes.

    Raises:
        DefinitionError: the factory failed or gave something else, or the job is wrong.
    """
    job = source if isinstance(source, Job) else _call_factory(source)
    job.validate()
    return job


def _call_factory(factory: object) -> Job:
    if not callable(factory):
        raise DefinitionError(f"a job is a Job or a function that returns one, got {factory!r}")
    name = getattr(factory, "__name__", repr(factory))
    if inspect.iscoroutinefunction(factory):
        raise DefinitionError(f"job factory {name} is async; make it a plain function that returns a Job")
    try:
        job = factory()
    except DefinitionError:
        raise
    except (Exception, SystemExit) as error:
        raise DefinitionError(f"job factory {name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(job, Job):
        raise DefinitionError(f"job factory {name} returned {job!r}; it must return a Job")
    return job
