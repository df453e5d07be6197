"""What attempts print, on its way to whoever watches and to the store. The only writer of `output/` keys.

An operator, or a thread of one, writes into its `AttemptOutput` and never waits: that is a bounded piece of memory
(`core/output.py`). One actor (`Outputs.run`) looks after all of them. It tells the feed what is new, a few times a
second for each attempt however much is printed, and puts blocks into the store in bounded batches beside the log's
commits, which never wait for them. So a flood costs its own memory and a write now and then, whatever its size.

Output is not part of the log: a kill of the server loses what was printed in the last second (of a flood past its first
part, the last seconds), never a state. When the engine closes, all is written.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

import trio

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.environment import Environment
from goflow_trio.actors.output_reading import Part, attempt_of, kept_blocks, read_kept, read_open
from goflow_trio.actors.printing import AttemptOutput, Key
from goflow_trio.actors.store import Store
from goflow_trio.core import limits
from goflow_trio.core.messages import Event, TaskOutput, TaskProgress
from goflow_trio.core.output import Block, KeptOutput, OutputSlice, joined, milliseconds, whole_characters
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.errors import StoreError, StoreUnavailable

logger = logging.getLogger("goflow_trio.outputs")

PACE = 0.1
"""Seconds between two live events of one attempt, at least."""

KEEP = 0.5
"""Seconds that output gathers before it is put into the store."""

CLOSING = 5.0
"""Seconds that writing what is left may take when the engine closes."""

_BATCH_BYTES = 256 * 1024
_BATCH_BLOCKS = 256
_EVENT_PIECES = 16
_RETRY_SECONDS = 1.0


class Outputs:
    """All outputs of an engine: the actor that looks after them, and reads.

    Args:
        store: takes the blocks and has the feed.
        environment: the clock.
    """

    def __init__(self, store: Store, environment: Environment) -> None:
        self._store = store
        self._environment = environment
        self._open: dict[Key, AttemptOutput] = {}  # whatever the store does not have yet
        self._noted: deque[AttemptOutput] = deque()
        self._unkept: dict[AttemptOutput, None] = {}
        self._bell = trio.Event()
        self._keep_bell = trio.Event()
        self._home = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()
        self._last_moment = 0

    # Writing ----------------------------------------------------------------------------------------

    def open(self, job: str, execution: str, task: str, attempt: int) -> AttemptOutput:
        """Begin the output of an attempt."""
        key = (execution, task, attempt)
        output = self._open[key] = AttemptOutput(self, job, key)
        self._store.ledger.printing[execution] += 1
        return output

    def _done_with(self, output: AttemptOutput) -> None:
        """Forget an output that the store has all of, or will never have."""
        if self._open.pop(output.key, None) is not None:
            printing, execution = self._store.ledger.printing, output.key[0]
            printing[execution] -= 1
            if not printing[execution]:
                del printing[execution]

    async def take_up(self, output: AttemptOutput) -> None:
        """Go on after what an attempt printed before a restart: one that only waits is the same attempt still."""
        try:
            blocks = await kept_blocks(self._store.backend, output.key)
        except StoreError:
            logger.warning("task %s: what it printed before cannot be read, and is written over", output.key[1])
            return
        with output.lock:
            if blocks and output.kept is None:
                output.kept = KeptOutput(blocks)
                output.announced = output.kept.total

    def moment(self) -> int:
        """Return the wall clock in milliseconds; for a thread on a virtual clock, the last that was asked for."""
        if threading.get_ident() == self._home:
            self._last_moment = milliseconds(self._environment.now())
            return self._last_moment
        try:
            return milliseconds(self._environment.now())
        except RuntimeError:  # trio's clock is asked outside of trio
            return self._last_moment

    def note(self, output: AttemptOutput) -> None:
        """Remember that there is something new; from any thread."""
        if output.noted:
            return
        output.noted = True
        self._noted.append(output)
        if threading.get_ident() == self._home:
            self._bell.set()
        else:
            with suppress(trio.RunFinishedError):  # an abandoned thread that outlived the engine
                self._token.run_sync_soon(self._ring, idempotent=True)

    def _ring(self) -> None:
        self._bell.set()

    def closed(self, output: AttemptOutput) -> None:
        """Announce the last words of an attempt."""
        self._announce(output)
        if output.kept is None:
            self._done_with(output)
        else:
            self._unkept[output] = None
            self._keep_bell.set()

    # The actor --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Announce and keep what is printed, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._announce_all, name="output, live")
            nursery.start_soon(self._keep_all, name="output, kept")

    async def _announce_all(self) -> None:
        while True:
            await self._bell.wait()
            self._bell = trio.Event()
            while self._noted:
                output = self._noted.popleft()
                output.noted = False
                self._announce(output)
                self._unkept[output] = None
            self._keep_bell.set()
            await trio.sleep(PACE)

    def _announce(self, output: AttemptOutput) -> None:
        """Publish what came since the last time, at most so much of it; an event's offset tells what is left out."""
        progress, output.progress = output.progress, None
        if progress is None and output.kept is None:
            return
        now = self._environment.now()
        execution, task, attempt = output.key
        events: list[Event] = list(self._new_output(output, now))
        if progress is not None:
            done, total = progress
            events.append(TaskProgress(now, output.job, execution, task=task, attempt=attempt, done=done, total=total))
        self._store.feed.publish(events)

    def _new_output(self, output: AttemptOutput, now: datetime) -> Iterator[TaskOutput]:
        execution, task, attempt = output.key
        with output.lock:
            kept = output.kept
            if kept is None or kept.total == output.announced:
                return
            begin = max(output.announced, kept.total - limits.OUTPUT_EVENT_BYTES, kept.ranges()[-1][0])
            blocks = kept.touched(begin, kept.total)
            pieces = [piece for block in blocks for piece in block.pieces(begin, kept.total)][-_EVENT_PIECES:]
            for piece in pieces:
                data = joined(blocks, piece.offset, piece.offset + piece.size)
                whole = len(data) if output.closed or piece is not pieces[-1] else whole_characters(data)
                output.announced = piece.offset + whole
                if whole:
                    text = data[:whole].decode("utf-8", "replace")
                    yield TaskOutput(
                        now,
                        output.job,
                        execution,
                        task=task,
                        attempt=attempt,
                        text=text,
                        stream=piece.stream,
                        offset=piece.offset,
                        size=whole,
                    )

    async def _keep_all(self) -> None:
        while True:
            await self._keep_bell.wait()
            self._keep_bell = trio.Event()
            while self._unkept:
                await trio.sleep(KEEP)
                try:
                    await self._keep_round()
                except StoreUnavailable:  # the store actor says so, once for all
                    self._give_up_oldest()
                    await trio.sleep(_RETRY_SECONDS)
                except StoreError:
                    logger.warning("output of tasks cannot be kept", exc_info=True)
                    await trio.sleep(_RETRY_SECONDS)

    async def _keep_round(self) -> None:
        """Put what is due into the store, in batches."""
        todo: deque[tuple[AttemptOutput, Block]] = deque()
        stale: list[str] = []
        now = trio.current_time()
        for output in self._unkept:
            with output.lock:
                todo.extend((output, block) for block in output.due(now))
                if output.kept is not None:
                    stale += [keys.output_block(*output.key, number) for number in output.kept.dropped]
                    output.kept.dropped.clear()
        await self._store.keep_output({}, stale)
        while todo:
            await self._keep_batch(todo)
        for output in list(self._unkept):
            self._forget_if_kept(output)

    async def _keep_batch(self, todo: deque[tuple[AttemptOutput, Block]]) -> None:
        values: dict[str, bytes] = {}
        batch: list[tuple[AttemptOutput, Block]] = []
        size = 0
        while todo and size < _BATCH_BYTES and len(batch) < _BATCH_BLOCKS:
            output, block = todo.popleft()
            with output.lock:
                if block.dirty and block.data is not None:  # not dropped meanwhile
                    value = codec.encode_block(block.start, block.marks, block.data)
                    values[keys.output_block(*output.key, block.number)] = value
                    size += len(value)
                    block.dirty, block.stored = False, True  # a block that is dropped from now on is removed
                    batch.append((output, block))
        try:
            await self._store.keep_output(values, ())
        except BaseException:
            for _, block in batch:
                block.dirty = True
            raise
        for output, block in batch:
            with output.lock:
                if block.is_full and not block.dirty:
                    block.data = None

    def _forget_if_kept(self, output: AttemptOutput) -> None:
        with output.lock:
            if not output.is_kept():
                return
        self._unkept.pop(output, None)
        if output.closed:
            self._done_with(output)

    def _give_up_oldest(self) -> None:
        """Bound what waits for a store that does not take writes."""
        waiting = [output for output in self._open.values() if output.closed and output.kept is not None]
        surplus = sum(output.kept.memory for output in waiting if output.kept) - limits.OUTPUT_UNSAVED_BYTES
        for output in waiting:
            if surplus <= 0:
                return
            assert output.kept is not None
            surplus -= output.kept.memory
            logger.warning("task %s of execution %s: its output is given up, the store is full", *output.key[1::-1])
            self._done_with(output)
            self._unkept.pop(output, None)

    async def aclose(self) -> None:
        """Put what is left into the store, for a moment at most; the actor must have ended."""
        with trio.move_on_after(CLOSING, shield=True) as scope:
            for output in list(self._open.values()):
                with output.lock:
                    output.closed = True
                self._unkept[output] = None
            try:
                await self._keep_round()
            except StoreError:
                logger.warning("the last output of tasks could not be kept", exc_info=True)
        if scope.cancelled_caught:
            logger.warning("the last output of tasks was not kept: the store took over %g s", CLOSING)

    # Reading ----------------------------------------------------------------------------------------

    async def read(self, record: ExecutionRecord, task: str, attempt: int | None, part: Part) -> OutputSlice:
        """Return a part of what an attempt printed, see `Engine.output`."""
        number = attempt_of(record, task, attempt)
        output = self._open.get((record.id, task, number))
        if output is not None:
            return await read_open(self._store.backend, output, part)
        return await read_kept(self._store.backend, record, task, number, part)
