"""What commands print: plain text for people, JSON for programs, and nothing that a terminal would obey.

Names, messages and output of tasks are other people's text. On their way to a terminal control characters are
replaced, so that nobody's log line moves the cursor, sets the title or forges another line. Colours go to a terminal
only, and not if `NO_COLOR` is set.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from goflow_trio.core.states import State

LOOKS: Mapping[str, tuple[str, str]] = {
    State.NOTSTARTED: ("◷", "dim"),
    State.RUNNING: ("◔", "blue"),
    State.UPFORRETRY: ("↻", "yellow"),
    State.SKIPPED: ("»", "magenta"),
    State.FAILED: ("✕", "bold red"),
    State.SUCCESSFUL: ("✓", "green"),
    State.CANCELLED: ("⊘", "bold"),
}
"""The mark and the style of each state."""

_PLAIN = ("?", "")


def printable(text: str) -> str:
    """Return text without what a terminal would obey: control characters and marks of direction are replaced."""
    return "".join(char if char.isprintable() or char == "\t" else "�" for char in text)


def counted(number: int, word: str) -> str:
    """Return how many of something there are: `1 task`, `2 tasks`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def to_nowhere(file: IO[str]) -> None:
    """Have a stream that cannot be written drop what it is given, from what it holds now on.

    Python would try to write that once more at the end, tell the error, and exit with 120.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)


def console() -> Console:
    """Return standard output: it has colours if it is a terminal, and wraps nothing."""
    return Console(highlight=False, soft_wrap=True, emoji=False, markup=False)


def styled(state: str, text: str | None = None) -> Text:
    """Return a state's name, or another text, in the state's style."""
    return Text(printable(text or state), LOOKS.get(state, _PLAIN)[1])


def print_json(value: Any) -> None:
    """Print a value as one line of JSON; what a terminal would obey is escaped in it."""
    plain = msgspec.to_builtins(value)
    # ASCII on a terminal, so that it shows every character as what it is; to a program text is text.
    click.echo(json.dumps(plain, ensure_ascii=sys.stdout.isatty()))


def print_lines(lines: Iterable[str | Text], otherwise: str = "") -> None:
    """Print lines, or a word on there being none."""
    out = console()
    some = False
    for line in lines:
        some = True
        out.print(line if isinstance(line, Text) else printable(line))
    if not some and otherwise:
        out.print(otherwise, style="dim")


def print_table(rows: Sequence[Sequence[str | Text]], otherwise: str) -> None:
    """Print rows in columns that are as wide as they need to be, two spaces between them."""
    cells = [[cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        line = Text()
        for cell, width in zip(row, widths, strict=True):
            line += cell + Text(" " * (width - cell.cell_len + 2))
        line.rstrip()
        lines.append(line)
    print_lines(lines, otherwise)


def clock(at: datetime | None) -> str:
    """Return the local time of an instant, with the date if it is not of today."""
    if at is None:
        return ""
    local = at.astimezone()
    is_today = local.date() == datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def took(begun: datetime | None, ended: datetime | None) -> str:
    """Return how long something took, in seconds; so far, if it goes on."""
    if begun is None:
        return ""
    return f"{((ended or datetime.now(UTC)) - begun).total_seconds():.1f} s"
