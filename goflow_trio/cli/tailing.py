"""`goflow-trio tail`: what happens on a server, as it happens."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from goflow_trio.cli.options import json_option, server_options
from goflow_trio.cli.printing import clock, console, print_json, printable, styled
from goflow_trio.cli.remote import ask, exit_code
from goflow_trio.core.states import State

if TYPE_CHECKING:
    from goflow_trio.client import Client, Event

_ENDS = {
    "succeeded": State.SUCCESSFUL,
    "failed": State.FAILED,
    "cancelled": State.CANCELLED,
    "skipped": State.SKIPPED,
    "started": State.RUNNING,
    "retry_scheduled": State.UPFORRETRY,
}
_ID_SHOWN = 8


@click.command()
@click.option("--job", envvar="GOFLOW_ONLY_JOB", allow_from_autoenv=False, help="Only events of this job.")
@click.option("--execution", metavar="ID", help="Only events of this execution.")
@click.option(
    "--type", "types", multiple=True, help="Only events of this type; task.* for all that begin so. Repeatable."
)
@click.option("--after", type=click.IntRange(0), metavar="SEQ", help="Begin after this event; 0 is the oldest kept.")
@click.option("--no-output", is_flag=True, help="Leave out what tasks print.")
@click.option(
    "--follow", metavar="ID", help="This execution from its beginning to its end; exit as it ended, as submit --wait."
)
@server_options
@json_option
def tail(
    job: str | None,
    execution: str | None,
    types: tuple[str, ...],
    after: int | None,
    no_output: bool,
    follow: str | None,
    server: tuple[str, str | None],
    as_json: bool,
) -> None:
    """Print what happens on a running server, until Ctrl-C.

    Lost connections are taken up again, and nothing comes twice.
    """
    state = ask(server, partial(_tail, job, execution or follow, types, after, no_output, follow, as_json))
    sys.exit(0 if state is None else exit_code(state))


async def _tail(
    job: str | None,
    execution: str | None,
    types: tuple[str, ...],
    after: int | None,
    no_output: bool,
    follow: str | None,
    as_json: bool,
    client: Client,
) -> str | None:
    if follow is not None:
        await client.execution(follow)  # or there is none
        after = after or 0
    line = _Line(console())
    async with client.events(after, job=job, execution=execution, types=types or None) as events:
        async for event in events:
            reads_log = follow is not None and not no_output and not as_json and bool(event.task)
            if reads_log and event.type != "task.started":
                await _catch_up(client, event, line)
            if event.type != "task.output" or not (no_output or reads_log):
                print_json(_plain(event)) if as_json else line.show(event)
            if reads_log and event.type == "task.started":
                await _catch_up(client, event, line)
            if follow is not None and event.type in {"execution.finished", "reset"}:
                record = await client.execution(follow)
                if State(record.state).is_final:
                    return record.state
    return None


async def _catch_up(client: Client, event: Event, line: _Line) -> None:
    """Print what an attempt printed since the last look: from what is kept, because live output is told only once."""
    from goflow_trio.client import Missing  # noqa: PLC0415

    while True:
        offset = line.printed.get((event.task, event.attempt), 0)
        try:
            part = await client.log(event.execution, event.task, attempt=event.attempt or None, offset=offset)
        except Missing:
            return  # it has not begun
        line.printed[event.task, event.attempt] = part.next_offset
        if not part.text:
            return
        line.output(event, part.text)


def _plain(event: Event) -> dict[str, object]:
    body = {"seq": event.seq, "at": event.at.isoformat(), "type": event.type}
    named = {name: getattr(event, name) for name in ("execution", "job", "task", "attempt") if getattr(event, name)}
    more = {"executions": event.executions} if event.executions else {}
    return {**body, **named, **event.details, **more}


class _Line:
    """Prints events. Output of a task is a stream that may be cut anywhere: an unfinished line waits for its rest.

    Attributes:
        printed: how many bytes of an attempt's output were printed, by task and attempt.
    """

    def __init__(self, out: Console) -> None:
        self.printed: dict[tuple[str, int], int] = {}
        self._out = out
        self._begun: dict[tuple[str, str], str] = {}

    def show(self, event: Event) -> None:
        """Print one event."""
        if event.type == "task.output":
            self.output(event, str(event.details.get("text", "")))
            return
        rest = self._begun.pop((event.execution, event.task), "")
        if rest:
            self._print(event, rest)
        self._out.print(_head(event).append("  ").append(_said(event)).append(_details(event)))

    def output(self, event: Event, text: str) -> None:
        """Print a part of what a task printed."""
        key = event.execution, event.task
        *lines, rest = (self._begun.pop(key, "") + text).split("\n")
        if rest:
            self._begun[key] = rest
        for one in lines:
            self._print(event, one)

    def _print(self, event: Event, text: str) -> None:
        self._out.print(_head(event).append(" | ", "dim").append(printable(text.rstrip("\r"))))


def _head(event: Event) -> Text:
    head = Text(clock(event.at), "dim").append("  ")
    head.append(printable(event.job), "bold")
    if event.execution:
        head.append(f" …{event.execution[-_ID_SHOWN:]}", "dim")
    if event.task:
        head.append(f"  {printable(event.task)}")
    return head


def _said(event: Event) -> Text:
    kind = event.type.partition(".")[2] or event.type
    state = str(event.details.get("state", "")) if event.type == "execution.finished" else _ENDS.get(kind, "")
    return styled(state, state if event.type == "execution.finished" else kind.replace("_", " "))


def _details(event: Event) -> str:
    details = event.details
    error = details.get("error")
    if isinstance(error, dict):
        return f": {printable(str(error.get('type')))}: {printable(str(error.get('message')).partition(chr(10))[0])}"
    if event.type == "schedule.toggled":
        return f": {'on' if details.get('active') else 'off'}"
    if event.type == "task.progress":
        return f": {details.get('done')} of {details.get('total')}"
    reason = details.get("reason")
    return f": {printable(str(reason))}" if reason else ""
