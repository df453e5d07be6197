"""Opening an engine: what is put together, what is started in which order, and what is ended in which.

An engine is one nursery of its host: when the block is left, everything in it is gone, and what was unfinished is in
the store to be resumed by the next engine that opens it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import trio

from goflow_trio.actors.backfill import Backfills
from goflow_trio.actors.children import force, run_child
from goflow_trio.actors.engine import Engine
from goflow_trio.actors.environment import Environment, real_environment
from goflow_trio.actors.executing import Executors
from goflow_trio.actors.executions import Executions
from goflow_trio.actors.gate import Gate
from goflow_trio.actors.groups import only_error
from goflow_trio.actors.outputs import Outputs
from goflow_trio.actors.registry import Registry
from goflow_trio.actors.resuming import resume_all
from goflow_trio.actors.schedules import Schedules
from goflow_trio.actors.store import open_store
from goflow_trio.actors.surroundings import Surroundings, named_in_errors
from goflow_trio.actors.triggers import Triggers
from goflow_trio.actors.watchdog import Watchdog
from goflow_trio.actors.watching import watch
from goflow_trio.core import limits
from goflow_trio.jobs.job import Job, build_job
from goflow_trio.operators import processes
from goflow_trio.operators.logs import task_logging
from goflow_trio.stores import Backend, open_backend

JobSource = Job | Callable[[], Job]


@asynccontextmanager
async def open_engine(
    store: str | Backend = "memory://",
    jobs: Iterable[JobSource] = (),
    *,
    max_active_tasks: int | None = None,
    pools: Mapping[str, int] | None = None,
    grace: float = 0.0,
    environment: Environment | None = None,
    takeover: bool = False,
    only_submitted: bool = False,
) -> AsyncIterator[Engine]:
    """Run an engine for the length of a block.

    On entry the store is opened, unfinished executions are resumed and schedules begin. When the block is left, nothing
    new starts, running tasks get `grace` seconds, and what then still runs is cut off; executions that are
    unfinished stay in the store and are resumed by the next engine that opens it.

    Args:
        store: URL or backend object. The engine closes it.
        jobs: jobs, or functions that return one.
        max_active_tasks: how many tasks of all executions run at once; None is `limits.ACTIVE_TASKS`.
        pools: slots of named pools, such as `{"db": 3}`; a task takes some by `Task(pool="db", pool_slots=1)`.
        grace: seconds that running tasks get at the end.
        environment: clock and randomness; the machine's own by default.
        takeover: take the store from another engine that holds it, once that one's lease has run out: a machine that
            is gone does not give it back. An engine that died on this machine is always taken over from, at once.
        only_submitted: run what is submitted here, and do nothing else to the store: what is unfinished in it stays
            so for the next engine, no schedule, file, backfill or other job begins anything, and nothing old is
            removed. For a script that borrows the store of a server whose jobs it does not have.

    Raises:
        DefinitionError: a job is wrong; the store was not opened.
        UsageError: the store's URL is wrong, or a number of slots.
        StoreInUse: another engine holds the store.
        StoreFenced: another engine has taken the store over; raised at the end of the block, which is cancelled.
        StoreError: the store cannot be used.
    """
    registry = Registry(build_job(source) for source in jobs)
    gate = Gate(registry.jobs, max_active_tasks, pools)
    world = environment or real_environment()
    backend = await open_backend(store)
    try:
        policies = {job.name: job.retention for job in registry.jobs.values() if job.retention is not None}
        opened = await open_store(backend, world, takeover=takeover, policies=None if only_submitted else policies)
    except BaseException:
        with trio.move_on_after(limits.STORE_SECONDS, shield=True):
            await backend.aclose()
        raise
    failure: BaseException | None = None
    outputs = Outputs(opened, world)
    executors = Executors()
    try:
        with task_logging():
            async with processes.guard(), trio.open_nursery() as nursery:
                nursery.start_soon(opened.run, name="store")
                nursery.start_soon(outputs.run, name="outputs")
                threads = world.operator_threads or trio.CapacityLimiter(limits.OPERATOR_THREADS)
                surroundings = Surroundings(opened, world, threads, outputs, executors=executors)
                if environment is None:  # in virtual time nothing is late
                    surroundings.watchdog = Watchdog()
                    nursery.start_soon(surroundings.watchdog.run, name="watchdog")
                executions = Executions(
                    registry,
                    surroundings,
                    gate,
                    nursery,
                    lambda when, what: schedules.scheduler.call_at(when, what),  # noqa: PLW0108  # it is made below
                )
                schedules = Schedules(executions, idle=only_submitted)
                backfills = Backfills(executions, schedules, nursery)
                await _begin(executions, schedules, backfills, nursery, only_submitted=only_submitted)
                try:
                    yield Engine(executions, schedules, backfills)
                except BaseException as error:  # noqa: BLE001, ASYNC103  # raised again below: a nursery would wrap it
                    failure = error
                with trio.CancelScope(shield=True):
                    await executions.close(grace)
                opened.feed.close()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        failure = failure if isinstance(failure, Exception) else only_error(group)
    finally:  # each shields itself, with a time-out
        await executors.aclose()  # noqa: ASYNC102
        await outputs.aclose()  # noqa: ASYNC102
        await opened.close()  # noqa: ASYNC102
    if opened.lost is not None:  # what came after that is only its consequence
        raise opened.lost
    if failure is not None:
        raise failure


async def _begin(
    executions: Executions,
    schedules: Schedules,
    backfills: Backfills,
    nursery: trio.Nursery,
    *,
    only_submitted: bool,
) -> None:
    """Keep the graphs, date the schedules that are new, resume what is unfinished; then let the clock run."""
    registry, world = executions.registry, executions.world
    world.run_child, world.force_child = partial(run_child, executions), partial(force, executions)
    for job in registry.jobs.values():
        with named_in_errors(job):
            for task in job:
                world.prepared(task)  # a task that could not run where it is to run is refused now
    for plan in registry.plans.values():
        await world.store.keep_graph(plan)
    if not only_submitted:
        await schedules.date_new_ones()
        await resume_all(executions)
    nursery.start_soon(schedules.scheduler.run, name="scheduler")
    if not only_submitted:
        await _begin_by_themselves(executions, backfills, nursery)


async def _begin_by_themselves(executions: Executions, backfills: Backfills, nursery: trio.Nursery) -> None:
    """Start what submits without being asked, besides the clock: backfills, watches, and jobs that follow others."""
    backfills.resume()
    for name, job in executions.registry.jobs.items():
        if job.watch is not None:
            nursery.start_soon(watch, name, job.watch, executions, name=f"watch of {name}")
    triggers = Triggers(executions)
    if triggers.needed:
        nursery.start_soon(triggers.run, await triggers.open(), name="triggers")
