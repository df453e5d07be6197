"""Reads of the store: what is in memory first, and the rest from the backend, without ever going through all of it.

Ids sort by time of submission, and every listing is kept newest first, so a page is one short scan from where the one
before ended, whatever it is filtered by. While the backend is away, what memory can answer alone is still answered.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from attrs import field, frozen

from goflow_trio.actors import keys
from goflow_trio.actors.damage import Damage
from goflow_trio.actors.ledger import Ledger
from goflow_trio.actors.patience import timed
from goflow_trio.actors.segments import decode_segments
from goflow_trio.actors.snapshots import read_snapshot
from goflow_trio.core import limits
from goflow_trio.core.messages import Event
from goflow_trio.core.record import ExecutionRecord
from goflow_trio.errors import CodecError
from goflow_trio.stores import Backend

_LOG_PAGE = 20
_LONGEST_ID = 64


@frozen
class Selection:
    """Which executions a listing is of; `Engine.newest` tells what each argument means.

    Attributes:
        below: an id that is greater than those of all that are wanted; None if any may be.
        floor: an id that none of them is less than.
    """

    job: str | None = None
    state: str | None = None
    before: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    below: str | None = field(init=False)
    floor: str = field(init=False)

    @below.default
    def _below(self) -> str | None:
        bounds = [self.before] if self.before else []
        return min([*bounds, first_id_at(self.until)] if self.until is not None else bounds, default=None)

    @floor.default
    def _floor(self) -> str:
        # An id is made a moment before its execution is submitted, longer if an idempotency key is claimed between.
        return "" if self.since is None else first_id_at(self.since, limits.SUBMIT_SECONDS)

    def wants(self, record: ExecutionRecord) -> bool:
        """Return whether an execution is one of them."""
        return (
            (self.below is None or record.id < self.below)
            and record.id >= self.floor
            and (self.since is None or record.submitted >= self.since)
            and (self.until is None or record.submitted < self.until)
            and (self.job is None or record.job == self.job)
            and (self.state is None or record.state == self.state)
        )


@frozen(eq=False)
class History:
    """Answers questions about executions and events.

    Args:
        backend: where the past is.
        ledger: what is at hand.
        damage: takes what cannot be read.
        epochs: first position of each epoch, by number.
    """

    backend: Backend
    ledger: Ledger
    damage: Damage
    epochs: Mapping[int, int]

    async def find(self, execution: str) -> ExecutionRecord | None:
        """Return an execution, finished or not; None if there is none of this id.

        Raises:
            StoreUnavailable: it is not at hand and the store does not answer.
            CodecError: it is damaged.
        """
        record = self.ledger.find(execution)
        if record is None and _is_id(execution):
            key = keys.execution(execution)
            data = await timed(self.backend.get, key)
            if data is not None:
                record = await self._read(key, data)
                self.ledger.remember(record)
        return record

    async def newest(self, which: Selection, limit: int) -> list[ExecutionRecord]:
        """Return executions, newest first; see `Engine.newest`. A damaged one is left out; health names it."""
        below, floor = which.below, which.floor
        ledger = self.ledger
        found = {
            record.id: record
            for records in (ledger.live, ledger.unsaved, ledger.recent)
            for record in records.values()
            if which.wants(record)
        }
        newer = sorted((execution for execution in found if execution > ledger.horizon), reverse=True)[:limit]
        if len(newer) == limit or ledger.horizon < max(floor, "0"):  # memory has all that can be asked for
            return [found[execution] for execution in newer]
        prefix = keys.listing(which.job, which.state)
        after = "" if below is None else prefix + keys.flip(below)
        result: list[ExecutionRecord] = []
        while True:
            most = limit - len(result)
            rows = await timed(self.backend.scan, prefix, after, most)
            listed = {keys.flip(key.removeprefix(prefix)): (key, value) for key, value in rows}
            is_last = len(rows) < most or min(listed) < floor
            reaches = floor if is_last else min(listed)
            ids = sorted((execution for execution in {*found, *listed} if execution >= reaches), reverse=True)
            # One that is at hand and was not wanted is listed as it ended before it was opened again.
            unread = (execution for execution in ids if execution not in found and ledger.find(execution) is None)
            found |= await self._read_many({execution: listed[execution] for execution in unread})
            chosen = [execution for execution in ids if execution in found and which.wants(found[execution])]
            result += [found.pop(execution) for execution in chosen]
            if is_last or len(result) >= limit:
                return result[:limit]
            after = rows[-1][0]

    async def _read_many(self, rows: Mapping[str, tuple[str, bytes]]) -> dict[str, ExecutionRecord]:
        """Return the executions of rows of a listing, by id; what cannot be read is left out, and noted."""
        snapshots = {execution: value for execution, (key, value) in rows.items() if key.startswith(keys.EXECUTIONS)}
        if len(snapshots) < len(rows):
            wanted = {keys.execution(execution): execution for execution in rows}
            values = await timed(self.backend.get_many, list(wanted))
            snapshots = {wanted[key]: value for key, value in values.items()}
        found = {}
        for execution, (row, _) in rows.items():
            key = keys.execution(execution)
            try:
                if execution in snapshots:
                    found[execution] = await self._read(key, snapshots[execution])
                elif await timed(self.backend.get, row) is not None and execution not in self.ledger.pruning:
                    self.damage.note(key, f"{key} is listed, and missing")
            except CodecError:
                continue  # noted
        return found

    async def _read(self, key: str, data: bytes) -> ExecutionRecord:
        try:
            record, _ = await read_snapshot(self.backend, key, data)
        except CodecError as error:
            self.damage.note(key, error)
            raise
        return record

    async def read_log(self, after: int, limit: int) -> list[Event] | None:
        """Return the next events after a position; None if the log no longer reaches back there."""
        epoch = max((number for number, first in self.epochs.items() if first <= after + 1), default=None)
        if epoch is None:
            return None
        start = keys.segment(epoch, max(0, after + 1 - limits.SEGMENT_EVENTS))
        events: list[Event] = []
        while len(events) < limit:
            rows = await timed(self.backend.scan, keys.LOG, start, _LOG_PAGE)
            for some in decode_segments(rows, self.damage):
                for event in some:
                    if event.seq == after + 1 + len(events):  # else it is before, or behind a gap
                        events.append(event)
            if len(rows) < _LOG_PAGE:
                break
            start = rows[-1][0]
        return events or None


def first_id_at(instant: datetime, earlier: float = 0.0) -> str:
    """Return the least id of the millisecond of an instant (RFC 9562: a version 7 UUID begins with it).

    Args:
        instant: which (aware).
        earlier: so many seconds before it.
    """
    milliseconds = max(0, int((instant.timestamp() - earlier) * 1000))
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | 0b10 << 62))


def instant_of(execution: str) -> datetime | None:
    """Return the millisecond that an id begins with; None if it is no id of ours."""
    try:
        return datetime.fromtimestamp((uuid.UUID(execution).int >> 80) / 1000, UTC)
    except (ValueError, OverflowError):
        return None


def _is_id(text: str) -> bool:
    return len(text) <= _LONGEST_ID and text.replace("-", "").isalnum()
