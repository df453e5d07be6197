"""`goflow-trio run`: one execution here and now, shown live on a terminal and as plain lines elsewhere."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click
import trio
from rich.console import Console, ConsoleDimensions, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from goflow_trio.actors.engine import Engine
from goflow_trio.actors.execution import Execution
from goflow_trio.actors.feed import Subscription
from goflow_trio.actors.opening import open_engine
from goflow_trio.actors.registry import needed_by
from goflow_trio.cli.options import (
    json_option,
    max_active_tasks_option,
    params_option,
    pools_option,
    read_params,
    read_pools,
    takeover_option,
)
from goflow_trio.cli.printing import LOOKS, print_json, printable, to_nowhere
from goflow_trio.cli.remote import exit_code
from goflow_trio.cli.target import load_jobs
from goflow_trio.core.messages import Event, ExecutionFinished
from goflow_trio.core.record import ExecutionRecord, TaskRecord
from goflow_trio.core.states import State
from goflow_trio.errors import UsageError
from goflow_trio.jobs.job import Job
from goflow_trio.web.wire import execution_details

_FRAME_SECONDS = 1 / 12
_LINES_AROUND = 4
"""What a table has besides its rows: a title of one line or two, the names of columns, and the line of the cursor."""
_WIDTH_BUT_NAME = 32
"""What a row of it has besides the task's name and the note."""
_LEAST_NOTE = 12
_FIRST_SHOWN = {State.RUNNING: 0, State.UPFORRETRY: 1, State.FAILED: 2}


@click.command()
@click.argument("target")
@click.option("--job", "job_name", envvar="GOFLOW_JOB", help="Which job; needed if the target has several.")
@params_option
@click.option("--store", envvar="GOFLOW_STORE", default="memory://", show_default=True, help="URL of the store.")
@max_active_tasks_option
@pools_option
@takeover_option
@json_option
def run(
    target: str,
    job_name: str | None,
    params: tuple[str, ...],
    store: str,
    max_active_tasks: int | None,
    pools: tuple[str, ...],
    takeover: bool,
    as_json: bool,
) -> None:
    """Run one job here and now and wait for it.

    Nothing else runs meanwhile: no schedule begins anything, and what is unfinished in the store stays so for its
    server.

    With --json standard output is the execution at its end, as `show --json` prints it; what happens meanwhile goes to
    standard error. Exits with 0 if it was successful, 1 if it failed, 130 if it was cancelled by Ctrl-C.
    """
    jobs = load_jobs([target])
    job = _choose(jobs, job_name)
    engine = open_engine(
        store,
        jobs=needed_by(job, jobs),
        max_active_tasks=max_active_tasks,
        pools=read_pools(pools),
        takeover=takeover,
        only_submitted=True,
    )
    console = Console(stderr=as_json)
    record = trio.run(_run, console, engine, job, read_params(params))
    _show_end(console, record)
    if as_json:
        print_json(execution_details(record))
    sys.exit(exit_code(record.state))


def _choose(jobs: list[Job], name: str | None) -> Job:
    named = [job for job in jobs if name in {None, job.name}]
    if len(named) == 1:
        return named[0]
    names = ", ".join(job.name for job in jobs)
    if name is None:
        raise UsageError(f"the target has {len(jobs)} jobs, choose one with --job: {names}")
    raise UsageError(f"the target has no job {name!r}; it has: {names}")


async def _run(
    console: Console, opening: AbstractAsyncContextManager[Engine], job: Job, params: Mapping[str, Any]
) -> ExecutionRecord:
    async with opening as engine, engine.subscribe(job=job.name) as events:
        execution = await engine.submit(job.name, params)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_signal, execution)
            show = _show_table if console.is_terminal else _show_lines
            await show(console, execution, events)
            nursery.cancel_scope.cancel()
        return await execution.wait()


async def _cancel_on_signal(execution: Execution) -> None:
    """Cancel on the first Ctrl-C, letting clean-up run; end that too on the second."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            force = False
            async for _ in signals:
                nursery.start_soon(partial(execution.cancel, "interrupted from the keyboard", force=force))
                force = True


async def _show_lines(console: Console, execution: Execution, events: Subscription) -> None:
    """Print lines as they are: rich takes 0.1 ms for each, and a task that prints 40,000 a second would wait for it."""
    async for event in events:
        if event.execution == execution.id:
            try:
                console.file.write("".join(f"{line}\n" for line in _lines(event)))
                console.file.flush()
            except OSError:  # a full disk, a pipe that nobody reads: no reason to cut what runs
                to_nowhere(console.file)
            if event.type == "execution.finished":
                return


def _lines(event: Event) -> list[str]:
    clock = event.at.astimezone().strftime("%H:%M:%S")
    if not event.task:
        said = event.state if isinstance(event, ExecutionFinished) else event.type.removeprefix("execution.")
        return [f"{clock} {event.job}  {said}"]
    details = event.payload()
    if event.type == "task.output":
        return [f"{clock} {event.task} | {printable(line)}" for line in details["text"].splitlines()]
    said = event.type.removeprefix("task.").replace("_", " ")
    if details.get("error") is not None:
        said += f": {details['error'].type}: {printable(details['error'].message)}"
    elif details.get("reason"):
        said += f": {details['reason']}"
    return [f"{clock} {event.task}  {said}"]


async def _show_table(console: Console, execution: Execution, events: Subscription) -> None:
    with Live(
        console=console, auto_refresh=False, get_renderable=lambda: _table(execution.record, console.size)
    ) as live:
        finished = False
        while not finished:
            batch: list[Event] = []
            with trio.move_on_after(_FRAME_SECONDS):
                batch = await events.receive_batch()
            for event in batch:
                if event.execution == execution.id and event.type == "task.output":
                    for line in _lines(event):
                        live.console.print(line, markup=False, highlight=False)
                finished |= event.execution == execution.id and event.type == "execution.finished"
            live.refresh()


def _table(record: ExecutionRecord, size: ConsoleDimensions) -> Table:
    """Return the tasks, each in one line: a note has what is left of it, and goes before a name is cut."""
    tasks = _shown_tasks(record, size.height - _LINES_AROUND)
    table = Table(title=_title(record), title_justify="left", box=None, pad_edge=False)
    for column in ("", "task", "state", "try", "seconds"):
        table.add_column(column, no_wrap=True)
    room = size.width - _WIDTH_BUT_NAME - max((len(task.name) for task in tasks), default=0)
    if room >= _LEAST_NOTE:
        table.add_column("", no_wrap=True)
    now = datetime.now(UTC)
    for task in tasks:
        glyph, style = LOOKS[task.state]
        cells: list[RenderableType] = [Text(glyph, style), Text(task.name), Text(task.state, style)]
        cells += [str(task.attempt or ""), _seconds(task, now)]
        if room >= _LEAST_NOTE:
            note = task.error.message.splitlines()[0] if task.error and task.error.message else task.reason
            cells.append(Text(printable(note)[:room], "dim"))
        table.add_row(*cells)
    return table


def _title(record: ExecutionRecord) -> str:
    """Return the job, its state, and how many tasks are in which."""
    states = Counter(task.state for task in record.tasks.values())
    counts = ", ".join(f"{states[state]} {state}" for state in State if states[state])
    return f"{record.job}  {record.state}" + (f": {counts}" if counts else "")


def _shown_tasks(record: ExecutionRecord, lines: int) -> list[TaskRecord]:
    """Return tasks in their order, items below their map; of a running execution those that matter, if not all fit."""
    items: dict[str, list[TaskRecord]] = {}
    for task in record.tasks.values():
        items.setdefault(task.mapped_from, []).append(task)
    tasks = [one for task in items.get("", []) for one in (task, *items.get(task.name, []))]
    if record.state.is_final or len(tasks) <= lines:
        return tasks
    ranked = sorted(range(len(tasks)), key=lambda place: _FIRST_SHOWN.get(tasks[place].state, len(_FIRST_SHOWN)))
    return [tasks[place] for place in sorted(ranked[: max(lines, 1)])]


def _seconds(task: TaskRecord, now: datetime) -> str:
    if task.started is None:
        return ""
    return f"{((task.finished or now) - task.started).total_seconds():.1f}"


def _show_end(console: Console, record: ExecutionRecord) -> None:
    for task in record.tasks.values():
        if task.state is State.FAILED and task.error is not None:
            text = f"{task.name}: {task.error.type}: {task.error.message}"
            console.print("\n".join(map(printable, text.splitlines())), markup=False, highlight=False, soft_wrap=True)
    took = (record.finished - record.submitted).total_seconds() if record.finished else 0.0
    console.print(f"{record.job} {record.state} after {took:.1f} s", markup=False, highlight=False)
