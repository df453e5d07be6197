"""Where one attempt prints to: a bounded piece of memory, written from any thread, that never makes anybody wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final, Protocol

from goflow_trio.core.output import STREAMS, Block, KeptOutput
from goflow_trio.operators.secrets import StreamMask, any_revealed

KEEP_TAIL: Final = 5.0
"""Seconds that output past its first part gathers before it is kept: it may be dropped before it is ever read."""

_STREAM = {name: place for place, name in enumerate(STREAMS)}

Key = tuple[str, str, int]
"""Execution, task and attempt."""


class Keeper(Protocol):
    """Who looks after what attempts print."""

    def moment(self) -> int:
        """Return the wall clock in milliseconds; from any thread."""

    def note(self, output: AttemptOutput) -> None:
        """Remember that there is something new; from any thread."""

    def closed(self, output: AttemptOutput) -> None:
        """Announce the last words of an attempt."""


class AttemptOutput:
    """Takes what one attempt prints, from any thread. What comes after `close` is nobody's, and dropped."""

    __slots__ = (
        "_keeper",
        "_masks",
        "_tail_at",
        "announced",
        "closed",
        "job",
        "kept",
        "key",
        "lock",
        "noted",
        "progress",
    )

    def __init__(self, keeper: Keeper, job: str, key: Key) -> None:
        self._keeper = keeper
        self.job = job
        self.key = key
        self.kept: KeptOutput | None = None  # most attempts print nothing
        self.lock = threading.Lock()
        self.closed = False
        self.noted = False
        self.announced = 0
        self.progress: tuple[float, float | None] | None = None  # the last that was told, and not announced yet
        self._tail_at = 0.0
        self._masks: dict[int, StreamMask] = {}  # by stream, once there is a secret

    def write(self, data: bytes | str, stream: str = "stdout") -> None:
        """Take the next bytes.

        Args:
            data: bytes, or text that is kept as UTF-8.
            stream: one of `STREAMS`.
        """
        if isinstance(data, str):
            data = data.encode("utf-8", "backslashreplace")
        place = _STREAM[stream]
        at = self._keeper.moment()
        with self.lock:
            if self.closed or not data:
                return
            if any_revealed():
                data = self._masks.setdefault(place, StreamMask()).feed(data)
            self._keep(data, place, at)
        self._keeper.note(self)

    def log(self, text: str) -> None:
        """Take lines of text."""
        text = str(text)
        self.write(text if text.endswith("\n") else text + "\n", "log")

    def report_progress(self, done: float, total: float | None) -> None:
        """Take how far the work is; of many reports, the last is told."""
        if not self.closed:
            self.progress = (done, total)
            self._keeper.note(self)

    def _keep(self, data: bytes, place: int, at: int) -> None:
        if data:
            if self.kept is None:
                self.kept = KeptOutput()
            self.kept.write(data, place, at)

    def close(self) -> None:
        """Say that the attempt is over. What it printed is announced before its end is."""
        with self.lock:
            for place, mask in self._masks.items():
                self._keep(mask.rest(), place, self._keeper.moment())
            self._masks = {}
            self.closed = True
        self._keeper.closed(self)

    def due(self, now: float) -> Iterator[Block]:
        """Give the blocks to be put into the store now; the lock is held."""
        if self.kept is None:
            return
        yield from (block for block in self.kept.head if block.dirty)
        if self.closed or now - self._tail_at >= KEEP_TAIL:
            self._tail_at = now
            yield from (block for block in self.kept.tail if block.dirty)

    def is_kept(self) -> bool:
        """Whether the store has all of it; the lock is held."""
        return self.kept is None or not (self.kept.dropped or any(block.dirty for block in self.kept.blocks))
