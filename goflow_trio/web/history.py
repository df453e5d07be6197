"""The latest runs of each job, summed up and kept at hand: an overview of 500 jobs costs no reading of the store.

It is a fold of the feed that is brought up to date when somebody asks, and while nobody does only so that it does not
fall behind what the feed has in memory: then all would have to be read again, 25,000 runs in a second or two. A run is
summed up anew from its record whenever an event tells that it changed, so it does not matter how often, or in which
order, it is told.
"""

from __future__ import annotations

import re
import weakref
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from weakref import WeakKeyDictionary

import trio
from attrs import define, field, frozen

from goflow_trio.actors.engine import Engine
from goflow_trio.actors.feed import Subscription
from goflow_trio.core import limits
from goflow_trio.core.messages import Event, FeedReset
from goflow_trio.core.record import ExecutionRecord, TaskRecord
from goflow_trio.core.states import State
from goflow_trio.errors import GoflowError

KEPT = 100
"""Runs kept of each job: the longest strip the dashboard draws."""

CODES: dict[State, str] = {
    State.NOTSTARTED: "n",
    State.RUNNING: "r",
    State.UPFORRETRY: "u",
    State.SKIPPED: "k",
    State.FAILED: "f",
    State.SUCCESSFUL: "s",
    State.CANCELLED: "c",
}
"""A state as one letter of the compact answers; `.` stands for a task that a run did not have."""

_DIGITS = "".join(chr(code) for code in range(ord("#"), ord("~") + 1) if chr(code) != "\\")
_LEAST_SECONDS, _MOST_SECONDS = 1e-3, 9.99e5
_MESSAGE_CHARS = 300
_LOOK_SECONDS = 0.25
_VARIABLE = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)


def coded(seconds: float | None) -> str:
    """Return seconds to three digits as two characters: 25,000 of them are half of an answer that spells them out."""
    if seconds is None:
        return "  "
    scientific = f"{min(max(seconds, _LEAST_SECONDS), _MOST_SECONDS):.2e}"  # 4.12e+01
    number = 900 * (int(scientific[5:]) + 3) + int(scientific[0] + scientific[2:4]) - 100
    return _DIGITS[number // 91] + _DIGITS[number % 91]


@frozen
class Failure:
    """Why a run failed: its first task that failed, not those that followed from it.

    Args:
        task: the task's name.
        type: the error's type.
        message: its first line, cut.
        fingerprint: equal for errors that differ in numbers only.
    """

    task: str
    type: str
    message: str
    fingerprint: str


@frozen
class Run:
    """One run in one line.

    Args:
        id: the execution's id.
        state: of the execution; `upforretry` while it runs and a task of it waits for its next attempt.
        submitted: when it was accepted.
        started: when its first tasks could run.
        finished: when it ended.
        trigger: what caused it.
        retrying: its tasks that wait for their next attempt.
        done: how many of its tasks have ended.
        total: how many it has.
        failure: why it failed.
        length: how long it took, as `coded`: once, not for each page that asks.
    """

    id: str
    state: State
    submitted: datetime
    started: datetime | None
    finished: datetime | None
    trigger: str
    retrying: tuple[str, ...]
    done: int
    total: int
    failure: Failure | None
    length: str = field(init=False)

    @length.default
    def _length(self) -> str:
        return coded(self.seconds)

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it goes on, or if it never started."""
        if self.started is None or self.finished is None:
            return None
        return (self.finished - self.started).total_seconds()


def sum_up(record: ExecutionRecord) -> Run:
    """Return a record in one line."""
    tasks = record.tasks.values()
    live = not record.state.is_final
    retrying = tuple(task.name for task in tasks if task.state is State.UPFORRETRY) if live else ()
    return Run(
        record.id,
        State.UPFORRETRY if retrying else record.state,
        record.submitted,
        record.started,
        record.finished,
        record.trigger,
        retrying,
        sum(task.state.is_final for task in tasks) if live else len(record.tasks),
        len(record.tasks),
        root_failure(record),
    )


def root_failure(record: ExecutionRecord) -> Failure | None:
    """Return why a run failed; None if nothing of it did."""
    failed = [task for task in record.tasks.values() if task.state is State.FAILED]
    if failed:
        task = min(failed, key=_ended)
        error = task.error
        kind = error.type if error else ""
        message = first_line(error.message if error and error.message else task.reason)
        return Failure(task.name, kind, message, f"{task.name}\n{kind}\n{_VARIABLE.sub('#', message)}")
    if record.state is State.FAILED:
        return Failure("", "", first_line(record.reason), f"\n\n{_VARIABLE.sub('#', record.reason)}")
    return None


def first_line(text: str) -> str:
    """Return the first line that says something, cut."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _MESSAGE_CHARS else line[: _MESSAGE_CHARS - 1] + "…"


def _ended(task: TaskRecord) -> float:
    return task.finished.timestamp() if task.finished else 0.0


@define(eq=False)
class History:
    """The latest runs by job, oldest first. Ask for them after `catch_up`, without a checkpoint between.

    Args:
        engine: whose runs they are.
        begun: when somebody first asked: tells one start of a server from the next.
    """

    engine: Engine
    begun: datetime
    _runs: dict[str, list[Run]] = field(factory=dict)
    _subscription: Subscription | None = None
    _lock: trio.Lock = field(factory=trio.Lock)

    async def catch_up(self, job: str | None = None) -> int:
        """Fold what happened since the last call; return the position in the log that this is true of.

        Args:
            job: the only job that will be asked for; None is all that are registered.
        """
        async with self._lock:
            if self._subscription is None:
                self._subscription = self.engine.store.feed.watch(("execution.*", "task.*"))
            await self._load([job] if job is not None else list(self.engine.jobs))
            while (events := self._subscription.receive_nowait()) != []:
                try:
                    if events is None or any(isinstance(event, FeedReset) for event in events):
                        self._runs = {name: await self._read(name) for name in self._runs}
                    else:
                        await self._fold(events)
                except BaseException:
                    self._runs = {}  # these events do not come again, so whoever asks next reads all anew
                    raise
            return self.engine.seq

    @property
    def is_behind(self) -> bool:
        """Whether it should catch up soon, so that nothing has to be read again."""
        return self._subscription is None or self._subscription.unread > limits.FEED_EVENTS // 4

    async def _fold(self, events: Sequence[Event]) -> None:
        changed = [event.execution for event in events if event.job in self._runs and not event.live_only]
        for execution in dict.fromkeys(changed):
            record = await self.engine.find(execution)
            if record is not None:
                self._put(record)

    async def _load(self, jobs: Sequence[str]) -> None:
        for job in jobs:
            if job not in self._runs:
                self._runs[job] = await self._read(job)

    async def _read(self, job: str) -> list[Run]:
        records = await self.engine.newest(job, limit=KEPT)
        return [sum_up(record) for record in reversed(records)]

    def _put(self, record: ExecutionRecord) -> None:
        runs = self._runs[record.job]
        place = bisect_left(runs, record.id, key=lambda run: run.id)
        if place < len(runs) and runs[place].id == record.id:
            runs[place] = sum_up(record)
        elif place or len(runs) < KEPT:  # else it is older than all that is kept
            runs.insert(place, sum_up(record))
            del runs[:-KEPT]

    def of(self, job: str) -> list[Run]:
        """Return the latest runs of a job, oldest first."""
        return self._runs.get(job, [])


async def keep_up(engine: Engine) -> None:
    """Read the latest runs of all jobs before somebody asks, and then never fall far behind. Runs until cancelled.

    It looks at numbers a few times a second; to fold 7,000 events of 1,000 runs takes 13 ms, 2 % of what these cost.
    A store that does not answer is asked again by whoever asks.
    """
    history = history_of(engine)
    while True:
        if history.is_behind:
            with suppress(GoflowError):
                await history.catch_up()
        await trio.sleep(_LOOK_SECONDS)


_histories: WeakKeyDictionary[Engine, History] = WeakKeyDictionary()


def history_of(engine: Engine) -> History:
    """Return the history of an engine: there is one, and it goes with it."""
    found = _histories.get(engine)
    if found is None:
        found = _histories[engine] = History(weakref.proxy(engine), engine.now())
    return found
