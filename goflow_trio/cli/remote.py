"""Commands that ask a running server, each a few calls of the client."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import trio

from goflow_trio.cli.options import json_option, params_option, read_params, server_options
from goflow_trio.cli.printing import clock, counted, print_json, print_lines, print_table, printable, styled, took
from goflow_trio.core.states import State
from goflow_trio.errors import UsageError

if TYPE_CHECKING:
    from goflow_trio.client import Backfill, Client, Execution, ExecutionDetails, Job, Log

CANCELLED = 130


def ask(server: tuple[str, str | None], work: Callable[[Client], Awaitable[Any]]) -> Any:
    """Return what `work` returns, given a client.

    Raises:
        GoflowError: the server cannot be reached, or refuses.
    """
    return trio.run(_ask, server, work)


async def _ask(server: tuple[str, str | None], work: Callable[[Client], Awaitable[Any]]) -> Any:
    from goflow_trio.client import open_client  # noqa: PLC0415  # 0.2 s that other commands need not pay

    url, token = server
    async with open_client(url, _read_token(token)) as client:
        return await work(client)


def _read_token(token: str | None) -> str | None:
    """Return a token, out of a file if it is given as `@file`."""
    if token is None or not token.startswith("@"):
        return token or None
    try:
        return Path(token[1:]).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token file {token[1:]} cannot be read: {getattr(error, 'strerror', error)}") from None


@click.command()
@server_options
@json_option
def jobs(server: tuple[str, str | None], as_json: bool) -> None:
    """List the jobs of a running server."""
    found = ask(server, _jobs)
    if as_json:
        print_json(found)
        return
    print_table([_job_row(job) for job in found], "no jobs")


async def _jobs(client: Client) -> list[Job]:
    return [await client.job(name) for name in await client.jobs()]


def _job_row(job: Job) -> list[Any]:
    return [
        job.name,
        counted(len(job.tasks), "task"),
        job.schedule or "no schedule",
        "" if not job.schedule else "on" if job.active else "off",
    ]


@click.command()
@click.option("--job", envvar="GOFLOW_ONLY_JOB", allow_from_autoenv=False, help="Only executions of this job.")
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Only executions in this state.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many.")
@server_options
@json_option
def executions(job: str | None, state: str | None, limit: int, server: tuple[str, str | None], as_json: bool) -> None:
    """List executions, the newest first."""

    async def work(client: Client) -> list[Execution]:
        return [execution async for execution in client.executions(job, state=state, limit=limit)]

    found = ask(server, work)
    if as_json:
        print_json({"executions": found})
        return
    rows = [
        [one.id, one.job, styled(one.state), clock(one.submitted), took(one.started, one.finished), one.by, one.reason]
        for one in found
    ]
    print_table(rows, "no executions")


@click.command()
@click.argument("execution")
@server_options
@json_option
def show(execution: str, server: tuple[str, str | None], as_json: bool) -> None:
    """Show EXECUTION (an id): tasks, attempts, results, errors."""
    record = ask(server, lambda client: client.execution(execution))
    _print_record(record, as_json=as_json, with_tasks=True)


@click.command()
@click.argument("job")
@params_option
@click.option("--wait", is_flag=True, help="Wait for its end, and exit as it ended.")
@click.option("--idempotency-key", help="Submits with equal keys are one execution.")
@click.option("--at", metavar="ISO", help="When it is to start, UTC by default; at once without.")
@server_options
@json_option
def submit(
    job: str,
    params: tuple[str, ...],
    wait: bool,
    idempotency_key: str | None,
    at: str | None,
    server: tuple[str, str | None],
    as_json: bool,
) -> None:
    """Submit JOB and print the id of its execution.

    With --wait it exits with 0 if that was successful, 1 if it failed, 130 if it was cancelled.
    """
    given = read_params(params)
    instant = None if at is None else _read_instant("--at", at)
    submitted = ask(server, lambda client: client.submit(job, given, idempotency_key=idempotency_key, at=instant))
    if wait:
        _wait(server, submitted.id, as_json=as_json)
    elif as_json:
        print_json(submitted)
    else:
        print_lines([submitted.id])


@click.command()
@click.argument("job")
@click.option("--on/--off", "active", default=None, help="Which way; the other one by default.")
@server_options
@json_option
def toggle(job: str, active: bool | None, server: tuple[str, str | None], as_json: bool) -> None:
    """Switch the schedule of JOB on or off."""

    async def work(client: Client) -> bool:
        if active is None:
            return await client.toggle(job)
        return (await (client.resume(job) if active else client.pause(job))).active

    is_on = ask(server, work)
    if as_json:
        print_json({"job": job, "active": is_on})
    else:
        print_lines([f"{job} is {'on' if is_on else 'off'}"])


@click.command()
@click.argument("execution")
@click.option("--force", is_flag=True, help="End clean-up tasks too.")
@click.option("--task", envvar="GOFLOW_ONLY_TASK", allow_from_autoenv=False, help="Only this task.")
@click.option("--reason", default="", help="Why; kept in the record.")
@server_options
@json_option
def cancel(
    execution: str, force: bool, task: str | None, reason: str, server: tuple[str, str | None], as_json: bool
) -> None:
    """End EXECUTION (an id), and wait until nothing of it runs.

    Clean-up tasks still run, unless there is --force.
    """
    receipt = ask(server, lambda client: client.cancel(execution, task=task, force=force, reason=reason))
    if as_json:
        print_json(receipt)
    else:
        print_lines([f"ended {counted(receipt.tasks, 'task')} in {receipt.seconds:.3f} s"])


@click.command()
@click.argument("execution")
@click.option(
    "--from",
    "start",
    type=click.Choice(["failed", "start"]),
    default="failed",
    show_default=True,
    help="What failed and what comes after it, or everything.",
)
@click.option("--task", envvar="GOFLOW_ONLY_TASK", allow_from_autoenv=False, help="This task instead.")
@click.option("--reason", default="", help="Why; kept in the record.")
@click.option("--wait", is_flag=True, help="Wait for its end, and exit as it ended.")
@server_options
@json_option
def retry(
    execution: str,
    start: Literal["failed", "start"],
    task: str | None,
    reason: str,
    wait: bool,
    server: tuple[str, str | None],
    as_json: bool,
) -> None:
    """Run EXECUTION (an id), which is over, once more.

    What does not run again keeps its result.
    """
    again = ask(server, lambda client: client.retry(execution, start=start, task=task, reason=reason))
    if wait:
        _wait(server, again.id, as_json=as_json)
    elif as_json:
        print_json(again)
    else:
        print_lines([f"{again.id} is {again.state}"])


@click.command()
@click.argument("job")
@click.option("--from", "since", metavar="ISO", required=True, help="The first moment that counts; UTC by default.")
@click.option("--until", metavar="ISO", required=True, help="The first moment that does not count any more.")
@click.option("--limit", type=click.IntRange(1), help="So many at once; one after the other by default.")
@click.option(
    "--wait", is_flag=True, help="Wait for its end, and exit as it ended; how far it is goes to standard error."
)
@server_options
@json_option
def backfill(
    job: str, since: str, until: str, limit: int | None, wait: bool, server: tuple[str, str | None], as_json: bool
) -> None:
    """Run JOB for past instants of its schedule, each once at most.

    The server does it by itself, also after a restart.
    With --wait it exits with 0 if all executions were successful, 1 if any was not, 130 if it was cancelled.
    """
    begin, end = _read_instant("--from", since), _read_instant("--until", until)

    async def work(client: Client) -> Backfill:
        begun = latest = await client.backfill(job, begin, end, limit=limit)
        if wait:
            async for latest in client.follow_backfill(begun):
                click.echo(_progress(latest), err=True)
        return latest

    found = ask(server, work)
    if as_json:
        print_json(found)
    elif wait:
        print_lines([f"{found.id}  {_progress(found)}"])
    else:
        print_lines([f"{found.id}  {found.total} instants, {found.present} of them have an execution already"])
    if wait:
        sys.exit(CANCELLED if found.state == "cancelled" else int(found.failed > 0))


def _progress(one: Backfill) -> str:
    over = one.successful + one.failed
    wanted = one.total - one.present
    failed = f", {one.failed} of them not successful" if one.failed else ""
    return f"{one.state}: {over} of {wanted} executions are over{failed}"


def _read_instant(option: str, text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: write an instant such as 2026-03-28T00:00:00Z") from None
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)


@click.command()
@click.argument("execution")
@click.argument("task")
@click.option("--reject", is_flag=True, help="No, instead of yes.")
@click.option("--comment", default="", help="Kept with the answer.")
@server_options
@json_option
def approve(
    execution: str, task: str, reject: bool, comment: str, server: tuple[str, str | None], as_json: bool
) -> None:
    """Answer what TASK of EXECUTION (an id) asks."""
    given = ask(server, lambda client: client.approve(execution, task, approved=not reject, comment=comment))
    if as_json:
        print_json(given)
    else:
        who = f" by {given.by}" if given.by else ""
        print_lines([f"{task} is {'approved' if given.approved else 'rejected'}{who}"])


@click.command()
@click.argument("execution")
@click.argument("task", required=False)
@click.option(
    "--attempt",
    type=click.IntRange(1),
    envvar="GOFLOW_ONLY_ATTEMPT",
    allow_from_autoenv=False,
    help="Which attempt; the last by default.",
)
@click.option("--tail", type=click.IntRange(0), metavar="BYTES", help="Only the last so many bytes.")
@click.option("--grep", metavar="TEXT", help="Only lines with this text, each with its number.")
@click.option("--follow", "-f", is_flag=True, help="Go on while it prints; needs a TASK.")
@server_options
@json_option
def logs(  # each is an option
    execution: str,
    task: str | None,
    attempt: int | None,
    tail: int | None,
    grep: str | None,
    follow: bool,
    server: tuple[str, str | None],
    as_json: bool,
) -> None:
    """Print what TASK of EXECUTION (an id) printed, or all tasks.

    Without a TASK, its name is before each line.
    To a file or another program the text goes as it is; on a terminal, control characters are replaced. --grep looks
    on the server, in all that is kept, and prints up to 1,000 lines of each task; the exit code is 1 if there are none.
    """
    if grep is not None:
        if follow or tail is not None or not grep:
            raise UsageError("--grep needs a text, and no --follow or --tail: it looks at all that was printed")
        found = ask(server, partial(_grep, execution, task, attempt, grep, as_json))
        sys.exit(0 if found else 1)
    if follow and (task is None or tail is not None):
        raise UsageError("--follow needs a TASK and no --tail; all tasks: goflow-trio tail --follow EXECUTION")
    ask(server, partial(_logs, execution, task, attempt, tail, follow, as_json))


async def _names(client: Client, execution: str, task: str | None) -> list[str]:
    """Return the tasks that are meant: the one, or all that ran."""
    if task is not None:
        return [task]
    return [one.name for one in (await client.execution(execution)).tasks if one.attempt]


async def _grep(execution: str, task: str | None, attempt: int | None, text: str, as_json: bool, client: Client) -> int:
    """Print the lines with a text in them; return how many there are."""
    total = 0
    for name in await _names(client, execution, task):
        found = await client.search_log(execution, name, text, attempt=attempt, limit=1000)
        total += found.total
        if as_json:
            print_json({"task": name, "found": found})
            continue
        prefix = "" if task is not None else f"{printable(name)} | "
        for hit in found.hits:
            click.echo(f"{prefix}{hit.line}: {printable(hit.text)}")
        if found.total > len(found.hits):
            click.echo(f"goflow-trio: {found.total - len(found.hits)} more lines of {printable(name)}", err=True)
    return total


async def _logs(
    execution: str,
    task: str | None,
    attempt: int | None,
    tail: int | None,
    follow: bool,
    as_json: bool,
    client: Client,
) -> None:
    if follow and task is not None:
        async for part in client.follow_log(execution, task, attempt=attempt):
            _print_log(part, "", task, as_json=as_json)
        return
    for name in await _names(client, execution, task):
        part = await client.log(execution, name, attempt=attempt, tail=tail)
        _print_log(part, "" if task is not None else f"{name} | ", name, as_json=as_json)


def _print_log(part: Log, prefix: str, task: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"task": task, "log": part})
        return
    text = part.text
    if sys.stdout.isatty():
        text = "\n".join(map(printable, text.split("\n")))
    if part.truncated and part.offset == 0 and len(part.kept) > 1:
        cut = part.kept[1][0] - part.kept[0][1]
        click.echo(f"goflow-trio: {cut} bytes in the middle of what {printable(task)} printed are not kept", err=True)
    if prefix:
        text = "".join(prefix + line + "\n" for line in text.splitlines())
    click.echo(text, nl=False, color=True)  # as it is: click would take colours out of what goes to a file


def _wait(server: tuple[str, str | None], execution: str, *, as_json: bool) -> None:
    record = ask(server, lambda client: client.wait(execution))
    _print_record(record, as_json=as_json)
    sys.exit(exit_code(record.state))


def exit_code(state: str) -> int:
    """Return the exit code that stands for how an execution ended."""
    return {State.SUCCESSFUL: 0, State.CANCELLED: CANCELLED}.get(State(state), 1)


def _print_record(record: ExecutionDetails, *, as_json: bool, with_tasks: bool = False) -> None:
    if as_json:
        print_json(record)
        return
    who = f"submitted by {record.by}" if with_tasks and record.by else ""
    print_table([[record.id, record.job, styled(record.state), record.reason, who]], "")
    failed = [task for task in record.tasks if task.error is not None and task.state == State.FAILED]
    if with_tasks:
        rows: list[list[Any]] = [
            ["", task.name, styled(task.state), f"attempt {task.attempt}" if task.attempt else "", task.reason]
            for task in record.tasks
        ]
        print_table(rows, "")
    for task in failed:
        assert task.error is not None
        text = f"{task.name}: {task.error.type}: {task.error.message}"
        print_lines(text.splitlines() if not with_tasks else [*text.splitlines(), *task.error.traceback.splitlines()])
