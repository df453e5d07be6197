"""What one attempt printed: a bounded part of it, with when and where each piece came from. Pure, no I/O.

The model: an attempt's output is one sequence of bytes, in the order in which they arrived from all its streams.
Offsets count in that sequence, also where it is not kept any more: of a flood, the first and the last
`limits.OUTPUT_HEAD_BYTES` and `limits.OUTPUT_TAIL_BYTES` are. It is held in blocks; a block is also what the store
keeps under one key, so that memory and store have the same shape. Beside its bytes a block has marks: from this byte
on, this stream, at this time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import define, field, frozen

from goflow_trio.core import limits
from goflow_trio.errors import UsageError

STREAMS: Final = ("stdout", "stderr", "log", "error")
"""Where output comes from: a program's two streams, `context.log` and Python's logging, and why an attempt failed.
Their places in this tuple are stored: add to its end only."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MERGE_MS: Final = 20  # pieces of one stream that follow each other this soon are one piece: a flood has few marks


@frozen
class OutputPiece:
    """Consecutive bytes of one stream that arrived together.

    Args:
        offset: where it begins, in the attempt's output.
        size: its bytes.
        at: when its first byte arrived (aware, UTC, in milliseconds).
        stream: one of `STREAMS`.
    """

    offset: int
    size: int
    at: datetime
    stream: str


@frozen
class OutputSlice:
    """A part of what an attempt printed. To read on, ask again from `next_offset` on, until `data` is empty.

    Args:
        attempt: the attempt's number; 0 when the task has not run yet.
        offset: where `data` begins. Not where it was asked for, if that is not kept: then where the kept part goes on.
        total: how many bytes were printed so far, kept or not.
        kept: the ranges that can be read, as (begin, end): one, or where the middle is gone, two.
        finished: whether the attempt is over, so that nothing more will come.
        data: the bytes, as they were printed.
        pieces: what `data` is made of, in order: when each piece arrived, and from which stream.
        line: number of the line that `offset` is in, from 1, among the lines that are kept.
    """

    attempt: int
    offset: int
    total: int
    kept: tuple[tuple[int, int], ...]
    finished: bool
    data: bytes = field(repr=False)
    pieces: tuple[OutputPiece, ...] = field(default=(), repr=False)
    line: int = 1

    @property
    def truncated(self) -> bool:
        """Whether something that was printed is not kept."""
        return sum(end - begin for begin, end in self.kept) < self.total

    @property
    def next_offset(self) -> int:
        """Where to read on."""
        return self.offset + len(self.data)


Mark = tuple[int, int, int]
"""From this byte of the block on: milliseconds since 1970, and the stream's place in `STREAMS`."""


@define(eq=False)
class Block:
    """A bounded, consecutive part of an output.

    Args:
        number: its place among the blocks of its output, from 0; blocks in between may be gone.
        start: offset of its first byte.
        marks: in order; the first is for byte 0.
        data: its bytes; None once they are in the store and need not be in memory.
        size: how many bytes those are.
        lines: how many lines end in it.
        dirty: whether the store does not have it as it is now.
        stored: whether the store has some of it.
        sealed: whether it was read from there, and nothing more goes in.
    """

    number: int
    start: int
    marks: list[Mark] = field(factory=list)
    data: bytearray | bytes | None = field(factory=bytearray)
    size: int = field(default=0)
    lines: int = 0
    dirty: bool = False
    stored: bool = False
    sealed: bool = False

    @property
    def end(self) -> int:
        """Offset after its last byte."""
        return self.start + self.size

    @property
    def is_full(self) -> bool:
        """Whether nothing more goes in."""
        return self.sealed or self.size >= limits.OUTPUT_BLOCK_BYTES or len(self.marks) >= limits.OUTPUT_BLOCK_PIECES

    def append(self, data: memoryview, stream: int, at: int) -> int:
        """Take as many of the next bytes as fit; return how many."""
        taken = min(len(data), limits.OUTPUT_BLOCK_BYTES - self.size)
        last = self.marks[-1] if self.marks else None
        if last is None or last[2] != stream or not 0 <= at - last[1] <= _MERGE_MS:
            self.marks.append((self.size, at, stream))
        assert isinstance(self.data, bytearray)
        self.data += data[:taken]
        self.size += taken
        self.lines += bytes(data[:taken]).count(b"\n")
        self.dirty = True
        return taken

    def pieces(self, begin: int, end: int) -> Iterator[OutputPiece]:
        """Give the pieces between two offsets."""
        ends = [mark[0] for mark in self.marks[1:]] + [self.size]
        for (first, at, stream), last in zip(self.marks, ends, strict=True):
            low, high = max(begin, self.start + first), min(end, self.start + last)
            if low < high:
                name = STREAMS[stream] if stream < len(STREAMS) else "log"
                yield OutputPiece(low, high - low, _EPOCH + timedelta(milliseconds=at), name)


class KeptOutput:
    """The blocks of one output. Its memory is bounded, whatever is written.

    Args:
        blocks: what is known of it already, in order.
    """

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.head = list(blocks)
        self.tail: deque[Block] = deque()
        self.total = self.head[-1].end if self.head else 0
        self.dropped: list[int] = []
        """Numbers of blocks that the store has and that are not kept any more."""
        self._tail_bytes = 0
        self._next_number = self.head[-1].number + 1 if self.head else 0

    @property
    def blocks(self) -> Iterator[Block]:
        """Give all blocks, in order."""
        yield from self.head
        yield from self.tail

    @property
    def memory(self) -> int:
        """How many bytes are held in memory, about."""
        return sum(len(block.data) for block in self.blocks if block.data is not None)

    def write(self, data: bytes | bytearray | memoryview, stream: int, at: int) -> None:
        """Take the next bytes of the output.

        Args:
            data: the bytes.
            stream: place of the stream in `STREAMS`.
            at: milliseconds since 1970.
        """
        rest = memoryview(data)
        while rest and (block := self._open_head()) is not None:
            rest = self._append(block, rest, stream, at)
        if len(rest) > limits.OUTPUT_TAIL_BYTES:  # most of it would be dropped again at once
            self.total += len(rest) - limits.OUTPUT_TAIL_BYTES
            rest = rest[-limits.OUTPUT_TAIL_BYTES :]
            while self.tail:
                self._drop_oldest()
        while rest:
            if not self.tail or self.tail[-1].is_full:
                self.tail.append(self._new_block())
            before = len(rest)
            rest = self._append(self.tail[-1], rest, stream, at)
            self._tail_bytes += before - len(rest)
            while self._has_surplus():
                self._drop_oldest()

    def _open_head(self) -> Block | None:
        """Return the block of the beginning that takes more; None if the beginning is complete."""
        last = self.head[-1] if self.head else None
        if last is not None and not last.is_full:
            return last
        if len(self.head) >= limits.OUTPUT_BLOCKS or (last is not None and last.end >= limits.OUTPUT_HEAD_BYTES):
            return None
        self.head.append(self._new_block())
        return self.head[-1]

    def _new_block(self) -> Block:
        block = Block(self._next_number, self.total)
        self._next_number += 1
        return block

    def _append(self, block: Block, data: memoryview, stream: int, at: int) -> memoryview:
        taken = block.append(data, stream, at)
        self.total += taken
        return data[taken:]

    def _has_surplus(self) -> bool:
        """Whether the oldest block of the end can go."""
        over = self._tail_bytes - self.tail[0].size >= limits.OUTPUT_TAIL_BYTES
        return over or len(self.tail) > limits.OUTPUT_BLOCKS

    def _drop_oldest(self) -> None:
        block = self.tail.popleft()
        self._tail_bytes -= block.size
        block.dirty = False
        if block.stored:
            self.dropped.append(block.number)

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Return what is kept, as (begin, end) offsets."""
        found: list[tuple[int, int]] = []
        for block in self.blocks:
            if not block.size:
                continue
            if found and found[-1][1] == block.start:
                found[-1] = (found[-1][0], block.end)
            else:
                found.append((block.start, block.end))
        return tuple(found)

    def touched(self, begin: int, end: int) -> list[Block]:
        """Return the blocks that hold bytes between two offsets."""
        return [block for block in self.blocks if block.start < end and begin < block.end]


def line_at(blocks: Iterable[Block], offset: int) -> int:
    """Return the number of the line that an offset is in, from 1, among those kept; its block must have its data."""
    line = 1
    for block in blocks:
        if block.end <= offset:
            line += block.lines
        elif block.start < offset:
            line += bytes(block.data or b"")[: offset - block.start].count(b"\n")
    return line


def locate(
    ranges: Sequence[tuple[int, int]], total: int, offset: int, limit: int | None, tail: int | None
) -> tuple[int, int]:
    """Return the (begin, end) of what a reader gets who asks for a part.

    Args:
        ranges: what is kept.
        total: how much was printed.
        offset: where the reader wants to begin.
        limit: at most so many bytes; None is all that are kept without a gap.
        tail: instead of `offset`: the last so many bytes.

    Raises:
        UsageError: a number is negative.
    """
    for name, value in (("offset", offset), ("limit", limit), ("tail", tail)):
        if value is not None and value < 0:
            raise UsageError(f"{name} must be 0 or more, got {value}")
    if not ranges:
        return total, total
    if tail is not None:
        offset = max(total - tail, ranges[-1][0])
    place = bisect_right(ranges, offset, key=lambda kept: kept[1])  # the first range that ends after the offset
    if place == len(ranges):
        return total, total
    begin = max(offset, ranges[place][0])
    end = ranges[place][1]
    return begin, end if limit is None else min(end, begin + limit)


def joined(blocks: Iterable[Block], begin: int, end: int) -> bytes:
    """Return the bytes between two offsets, as far as the blocks have them."""
    return b"".join(
        block.data[max(0, begin - block.start) : max(0, end - block.start)] for block in blocks if block.data
    )


def whole_characters(data: bytes) -> int:
    """Return how many bytes to take so that no UTF-8 character is cut at the end."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:  # the first of a character of 2 to 4 bytes  # noqa: PLR2004
            needs = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4  # noqa: PLR2004
            return len(data) - back if back < needs else len(data)
        if byte < 0x80:  # noqa: PLR2004
            break
    return len(data)


def milliseconds(moment: datetime) -> int:
    """Return an instant as whole milliseconds since 1970."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
