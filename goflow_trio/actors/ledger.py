"""What is durable, held in memory: live executions, finished ones, schedules. Folded from events.

Only the store actor and recovery change it, and only with events that are in the log; but for `held`, which is a note.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from attrs import Factory, define

from goflow_trio import codec
from goflow_trio.core import limits
from goflow_trio.core.messages import (
    BackfillFinished,
    BackfillStarted,
    Event,
    ExecutionReopened,
    ExecutionSubmitted,
    ScheduleMissed,
    ScheduleStarted,
    ScheduleToggled,
)
from goflow_trio.core.record import ExecutionRecord, apply_event, reopened_record, submitted_record
from goflow_trio.core.timeline import Timeline
from goflow_trio.errors import CodecError

_MISSED_KEPT = 20


@define
class ScheduleState:
    """What is known of one job's schedule.

    Args:
        active: whether it is switched on; None while nobody ever switched it.
        timeline: which of its instants are accounted for.
        until: when it goes on by itself, while it is switched off for a time.
        backfills: those that are not over, by id.
        missed: the latest instants that had no run, oldest first.
    """

    active: bool | None = None
    timeline: Timeline = Factory(Timeline)
    until: datetime | None = None
    backfills: dict[str, BackfillStarted] = Factory(dict)
    missed: list[ScheduleMissed] = Factory(list)

    @property
    def cursor(self) -> datetime | None:
        """The latest instant that is accounted for, by an execution or as missed."""
        return self.timeline.cursor

    def as_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it."""
        gaps = [list(gap) for gap in self.timeline.gaps]
        backfills = [codec.pack_event(event) for event in self.backfills.values()]
        missed = [codec.pack_event(event) for event in self.missed]
        plain = {"active": self.active, "cursor": self.cursor, "gaps": gaps, "until": self.until}
        return plain | {"backfills": backfills, "missed": missed}

    @classmethod
    def from_plain(cls, known: Mapping[str, Any]) -> ScheduleState:
        """Return what a checkpoint kept; one by an earlier version knows less."""
        gaps = [(after, until) for after, until in known.get("gaps", ())]
        events = (codec.unpack_event(row) for row in known.get("backfills", ()))
        backfills = {event.backfill: event for event in events if isinstance(event, BackfillStarted)}
        misses = (codec.unpack_event(row) for row in known.get("missed", ()))
        missed = [event for event in misses if isinstance(event, ScheduleMissed)]
        return cls(known["active"], Timeline(known["cursor"], gaps), known.get("until"), backfills, missed)

    def miss(self, event: ScheduleMissed) -> None:
        """Keep that instants had no run, and forget the oldest; told again it changes nothing."""
        if not any((one.at, one.last) == (event.at, event.last) for one in self.missed):
            self.missed = [*self.missed, event][-_MISSED_KEPT:]


@define
class Ledger:
    """The fold of the log, as far as it is needed at hand.

    Args:
        seq: position of the last event.
        live: unfinished executions by id.
        unsaved: finished executions whose snapshot is not in the store yet, by id.
        recent: finished executions kept for reads; the oldest goes first.
        schedules: by job.
        held: finished executions that are about to be opened again, whatever the caches forget meanwhile.
        horizon: an id; of finished executions that are not newer, some may not be in memory. Empty: all are.
        printing: how many attempts of an execution have output that is not in the store yet.
        pruning: finished executions that are being removed from the store.
        broken: unfinished executions that have lost events, and how; what follows of them is left out.
    """

    seq: int = 0
    live: dict[str, ExecutionRecord] = Factory(dict)
    unsaved: dict[str, ExecutionRecord] = Factory(dict)
    recent: OrderedDict[str, ExecutionRecord] = Factory(OrderedDict)
    schedules: dict[str, ScheduleState] = Factory(dict)
    held: dict[str, ExecutionRecord] = Factory(dict)
    horizon: str = ""
    printing: Counter[str] = Factory(Counter)
    pruning: set[str] = Factory(set)
    broken: dict[str, str] = Factory(dict)
    _recent_tasks: int = 0

    def apply(self, events: Iterable[Event]) -> None:
        """Fold events that are in the log, in its order. Folding one again changes nothing."""
        for event in events:
            self.seq = max(self.seq, event.seq)
            if event.execution:
                self._apply_to_execution(event)
            else:
                self._apply_to_schedule(event)

    def _apply_to_execution(self, event: Event) -> None:
        if isinstance(event, ExecutionSubmitted):
            if event.trigger == "schedule" and event.scheduled_for is not None:
                self.schedule(event.job).timeline.account(event.scheduled_for)
            if event.execution not in self.unsaved:
                self.live.setdefault(event.execution, submitted_record(event))
            return
        if isinstance(event, ExecutionReopened):
            self._reopen(event)
            return
        record = self.live.get(event.execution)
        if record is None:  # told again of one that is finished
            return
        try:
            apply_event(record, event)
        except CodecError as error:  # events before this one are lost; it is ended, and says why
            self.broken.setdefault(record.id, str(error))
            return
        if record.state.is_final:
            del self.live[record.id]
            self.broken.pop(record.id, None)
            self.unsaved[record.id] = record

    def _reopen(self, event: ExecutionReopened) -> None:
        """Take a finished execution back among the live ones; whoever holds its record keeps it as it was."""
        record = self.held.pop(event.execution, None) or self.find(event.execution)
        if record is not None and record.version < event.version:
            self.live[record.id] = reopened_record(record, event)
            self.unsaved.pop(record.id, None)
            self.forget(record.id)

    def _apply_to_schedule(self, event: Event) -> None:
        state = self.schedule(event.job)
        if isinstance(event, ScheduleToggled):
            state.active = event.active
            state.until = event.until
            if event.active:  # what passed while it was off is nobody's debt: it begins from here
                state.timeline.begin(event.since or event.at)
        elif isinstance(event, ScheduleStarted):
            state.timeline.begin(event.at)
        elif isinstance(event, BackfillStarted):
            state.backfills[event.backfill] = event
        elif isinstance(event, BackfillFinished):
            state.backfills.pop(event.backfill, None)
        elif isinstance(event, ScheduleMissed) and event.last is not None:
            state.miss(event)
            if event.cause == "misfire" and event.first is not None:
                state.timeline.pass_over(event.first, event.last)
            else:
                state.timeline.account(event.last)

    def schedule(self, job: str) -> ScheduleState:
        """Return what is known of a job's schedule."""
        state = self.schedules.get(job)
        if state is None:
            state = self.schedules[job] = ScheduleState()
        return state

    def find(self, execution: str) -> ExecutionRecord | None:
        """Return an execution that is at hand."""
        return self.live.get(execution) or self.unsaved.get(execution) or self.recent.get(execution)

    def saved(self, records: Iterable[ExecutionRecord]) -> None:
        """Note that the snapshots of these finished executions are in the store."""
        for record in records:
            if self.unsaved.get(record.id) is record:  # else it was opened again meanwhile
                del self.unsaved[record.id]
                self.remember(record)

    def remember(self, record: ExecutionRecord) -> None:
        """Keep a finished execution for reads, for a while."""
        self.forget(record.id)
        self.recent[record.id] = record
        self._recent_tasks += len(record.tasks)
        while len(self.recent) > limits.CACHED_EXECUTIONS or (
            self._recent_tasks > limits.CACHED_TASKS and len(self.recent) > 1
        ):
            oldest, dropped = self.recent.popitem(last=False)
            self._recent_tasks -= len(dropped.tasks)
            self.horizon = max(self.horizon, oldest)

    def forget(self, execution: str) -> None:
        """Drop a finished execution from memory: it is no more."""
        dropped = self.recent.pop(execution, None)
        if dropped is not None:
            self._recent_tasks -= len(dropped.tasks)
