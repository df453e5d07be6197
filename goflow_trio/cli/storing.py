"""`goflow-trio store`: look at a store, prune it, move it. Works on stores that no server has open."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from goflow_trio.actors.environment import real_environment
from goflow_trio.actors.groups import only_error
from goflow_trio.actors.inspection import Inspection, inspect_store
from goflow_trio.actors.retention import Removed
from goflow_trio.actors.store import open_store
from goflow_trio.actors.transfer import copy_store, export_store, import_lines
from goflow_trio.cli.options import json_option, takeover_option
from goflow_trio.cli.printing import counted
from goflow_trio.errors import UsageError
from goflow_trio.jobs.retention import Retention
from goflow_trio.stores import Backend, check_store_url, folder, hide_password, open_backend, sqlite
from goflow_trio.stores.urls import split_store_url

T = TypeVar("T")

_SHOWN_DAMAGE = 20


@click.group()
def store() -> None:
    """Look at a store, prune it, or move it to another one."""


def _check_exists(url: str) -> None:
    """Refuse to look into a file or folder that is not there: opening would make one, and tell that it holds nothing.

    Raises:
        UsageError: it is not there.
    """
    check_store_url(url)
    path_in = {"sqlite": sqlite.file_of, "file": folder.folder_of}.get(split_store_url(url).scheme)
    if path_in is not None and not Path(path_in(url)).exists():
        raise UsageError(f"store {url!r}: there is nothing at {Path(path_in(url)).absolute()}; correct the path")


@asynccontextmanager
async def _existing(url: str) -> AsyncIterator[Backend]:
    _check_exists(url)
    async with _opened(url) as backend:
        yield backend


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Backend]:
    backend = await open_backend(url)
    try:
        yield backend
    finally:
        with trio.CancelScope(shield=True):
            await backend.aclose()


def _run(main: Callable[[], Awaitable[T]]) -> T:
    try:
        return trio.run(main)
    except BaseExceptionGroup as group:
        raise only_error(group) from None


def _progress(text: str) -> tuple[Progress, Callable[[int], None]]:
    """Return a progress bar on standard error, shown on a terminal only, and what advances it."""
    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(text, total=None)
    return bar, lambda count: bar.advance(task, count)


@store.command()
@click.argument("url", envvar="GOFLOW_STORE")
@json_option
def info(url: str, as_json: bool) -> None:
    """Say what the store at URL holds, and what is damaged.

    It is read as a whole. Exits with 1 if something is damaged. A server may have it open meanwhile.
    """
    bar, advance = _progress("reading")

    async def main() -> tuple[Inspection, str]:
        async with _existing(url) as backend:
            return await inspect_store(backend, advance), str(backend.durability)

    with bar:
        found, durability = _run(main)
    if as_json:
        import msgspec  # noqa: PLC0415

        click.echo(msgspec.json.encode(_as_plain(found, durability)).decode())
    else:
        click.echo("\n".join(_lines(url, found, durability)))
    sys.exit(1 if found.damage.count else 0)


def _as_plain(found: Inspection, durability: str) -> dict[str, Any]:
    lease = found.lease
    return {
        "durability": durability,
        "holder": None if lease is None or lease.released else str(lease.holder),
        "records": dict(found.records),
        "bytes": dict(found.size),
        "executions": [
            {"job": job, "state": str(state), "count": count}
            for (job, state), count in sorted(found.executions.items())
        ],
        "events": found.events,
        "oldest": found.oldest,
        "newest": found.newest,
        "damaged": found.damage.records,
    }


def _lines(url: str, found: Inspection, durability: str) -> list[str]:
    lease = found.lease
    holder = "nobody" if lease is None or lease.released else str(lease.holder)
    lines = [f"store {hide_password(url)}", f"  {durability}", f"  held by {holder}"]
    total = sum(found.executions.values())
    span = f", from {found.oldest:%Y-%m-%d %H:%M} to {found.newest:%Y-%m-%d %H:%M}" if found.oldest else ""
    lines.append(f"  {counted(total, 'finished execution')}{span}; {found.events} events in the log")
    lines += [f"    {job}: {count} {state}" for (job, state), count in sorted(found.executions.items())]
    lines += [
        f"  {kind}: {counted(count, 'record')}, {found.size[kind] / 1e6:.1f} MB"
        for kind, count in sorted(found.records.items())
    ]
    damaged = list(found.damage.records.items())
    lines.append(f"  damaged: {found.damage.count or 'nothing'}")
    lines += [f"    {key}: {error.removeprefix(key + ': ')}" for key, error in damaged[:_SHOWN_DAMAGE]]
    return lines


@store.command()
@click.argument("url", envvar="GOFLOW_STORE")
@click.option("--days", type=click.FloatRange(0), help="Keep what was submitted within so many days.")
@click.option("--count", type=click.IntRange(0), help="Keep so many of each job.")
@click.option("--job", help="Only of this job.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@takeover_option
def prune(url: str, days: float | None, count: int | None, job: str | None, dry_run: bool, takeover: bool) -> None:
    """Remove finished executions from the store at URL.

    Their output and their idempotency keys go with them.
    Say what to keep with --days, --count or both; what is over either goes.
    """
    if days is None and count is None:
        raise UsageError("say what to keep: --days, --count, or both")
    _check_exists(url)
    wanted = Retention(days=days, count=count)
    policies, others = ({}, wanted) if job is None else ({job: wanted}, Retention())
    bar, advance = _progress("removing")

    async def main() -> Removed:
        backend = await open_backend(url)
        try:
            opened = await open_store(backend, real_environment(), takeover=takeover)
        except BaseException:
            with trio.CancelScope(shield=True):
                await backend.aclose()
            raise
        try:
            sweep = opened.sweep(policies, others, dry_run=dry_run)
            before = 0
            while await sweep.step():
                advance(sweep.removed.executions - before)
                before = sweep.removed.executions
            return sweep.removed
        finally:
            await opened.close()  # noqa: ASYNC102  # it shields itself, with a time-out

    with bar:
        removed = _run(main)
    verb = "would remove" if dry_run else "removed"
    click.echo(f"{verb} {counted(removed.executions, 'execution')} and {counted(removed.claims, 'idempotency key')}")


@store.command()
@click.argument("url", envvar="GOFLOW_STORE")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
def export(url: str, file: Path) -> None:
    """Write all of the store at URL into FILE, as lines of JSON.

    - is standard output.
    """
    bar, advance = _progress("exporting")

    async def main() -> int:
        with click.open_file(str(file), "w", encoding="utf-8", atomic=str(file) != "-") as out:

            def write(line: str) -> None:
                out.write(line)
                advance(1)

            async with _existing(url) as backend:
                return await export_store(backend, datetime.now(UTC), write)

    with bar:
        count = _run(main)
    click.echo(f"exported {counted(count, 'record')}", err=True)


@store.command("import")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.argument("url", envvar="GOFLOW_STORE")
def import_(file: Path, url: str) -> None:
    """Read FILE, made by export, into the empty store at URL.

    Cut off, it may be begun again.
    """
    bar, advance = _progress("importing")

    async def main() -> int:
        with click.open_file(str(file), encoding="utf-8") as lines:
            async with _opened(url) as backend:
                return await import_lines(iter(lines), backend, advance)

    with bar:
        count = _run(main)
    click.echo(f"imported {counted(count, 'record')}")


@store.command()
@click.argument("source")
@click.argument("target")
def copy(source: str, target: str) -> None:
    """Copy the store SOURCE into the empty store TARGET.

    Cut off, it may be begun again and goes on where it was.
    """
    if source == target:
        raise UsageError("SOURCE and TARGET are the same store")
    bar, advance = _progress("copying")

    async def main() -> int:
        async with _existing(source) as one, _opened(target) as other:
            return await copy_store(one, other, datetime.now(UTC), advance)

    with bar:
        count = _run(main)
    click.echo(f"copied {count} keys from {hide_password(source)} to {hide_password(target)}")
