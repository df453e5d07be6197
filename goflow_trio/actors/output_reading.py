"""Reads of what attempts printed: from memory while the store has not got all of it, from the store afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import trio
from attrs import frozen

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.printing import AttemptOutput, Key
from goflow_trio.core.output import Block, KeptOutput, OutputPiece, OutputSlice, joined, line_at, locate
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.errors import CodecError, UnknownTask, UsageError
from goflow_trio.stores import Backend

logger = logging.getLogger("goflow_trio.outputs")


@frozen
class Part:
    """Which part of an output is asked for; see `Engine.output`."""

    offset: int = 0
    limit: int | None = None
    tail: int | None = None


def attempt_of(record: ExecutionRecord, task: str, attempt: int | None) -> int:
    """Return the number of the attempt that is asked for, the last by default; 0 if there was none yet.

    Raises:
        UnknownTask: the execution has no such task.
        UsageError: the task had no such attempt.
    """
    if task not in record.tasks:
        raise UnknownTask(f"execution {record.id} of job {record.job!r} has no task {task!r}")
    last = record.tasks[task].attempt
    if attempt is None:
        return last
    if not 1 <= attempt <= last:
        has = f"its attempts are 1 to {last}" if last else "it has not run yet"
        raise UsageError(f"task {task!r} has no attempt {attempt}; {has}")
    return attempt


async def read_kept(backend: Backend, record: ExecutionRecord, task: str, number: int, part: Part) -> OutputSlice:
    """Return a part of what an attempt printed that the store has all of; number 0 is none and printed nothing."""
    kept = KeptOutput()
    if number:
        kept = KeptOutput(await kept_blocks(backend, (record.id, task, number)))
    begin, end = locate(kept.ranges(), kept.total, part.offset, part.limit, part.tail)
    is_over = record.tasks[task].state.is_final or number < record.tasks[task].attempt or _ended(record, task)
    cut = _cut(kept.touched(begin, end), begin, end)
    return OutputSlice(number, begin, kept.total, kept.ranges(), is_over, *cut, line_at(kept.blocks, begin))


async def read_open(backend: Backend, output: AttemptOutput, part: Part) -> OutputSlice:
    """Return a part of what an attempt printed that the store has not got all of yet.

    What is in memory comes from there; blocks that the store has taken over already are fetched.
    """
    with output.lock:
        kept = output.kept or KeptOutput()
        finished, total, ranges = output.closed, kept.total, kept.ranges()
        begin, end = locate(ranges, total, part.offset, part.limit, part.tail)
        blocks = [
            Block(b.number, b.start, list(b.marks), b.data and bytes(b.data), b.size, b.lines)
            for b in kept.touched(begin, end)
        ]
        before = 1 + sum(block.lines for block in kept.blocks if block.end <= begin)
    missing = {keys.output_block(*output.key, block.number): block for block in blocks if block.data is None}
    found = await backend.get_many(list(missing)) if missing else {}
    for name, block in missing.items():
        if name in found:
            block.data = codec.decode_block(found[name], name)[2][: block.size]
    gone = [block.end for block in blocks if block.data is None]  # dropped meanwhile: begin after it
    if gone:
        begin = min(max(gone), end)
        blocks = [block for block in blocks if block.start >= begin]  # the lines of what is gone do not count
    else:
        await trio.lowlevel.checkpoint()
    line = before - 1 + line_at(blocks, begin)
    return OutputSlice(output.key[2], begin, total, ranges, finished, *_cut(blocks, begin, end), line)


async def kept_blocks(backend: Backend, key: Key) -> list[Block]:
    """Return the blocks that the store has of an attempt; one that is damaged is missing, as if it had been dropped."""
    return list(_decoded(await backend.scan(keys.output(*key))))


def _decoded(rows: Iterable[tuple[str, bytes]]) -> Iterator[Block]:
    for key, value in rows:
        try:
            start, marks, data = codec.decode_block(value, key)
        except CodecError as error:
            logger.warning("a part of a task's output is lost: %s", error)
            continue
        lines = data.count(b"\n")
        yield Block(int(key.rpartition("/")[2]), start, marks, data, len(data), lines, stored=True, sealed=True)


def _ended(record: ExecutionRecord, task: str) -> bool:
    attempts = record.tasks[task].attempts
    return bool(attempts) and attempts[-1].finished is not None


def _cut(blocks: list[Block], begin: int, end: int) -> tuple[bytes, tuple[OutputPiece, ...]]:
    """Cut the bytes between two offsets out of blocks, and their pieces."""
    return joined(blocks, begin, end), tuple(piece for block in blocks for piece in block.pieces(begin, end))
