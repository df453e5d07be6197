"""Runs that follow other runs: `Job("report", after=["load"])`. Each end is followed once, also across a restart.

One actor reads the feed from where it was last time. A submit carries a key of the execution it follows, so one that is
read again is not followed twice; where it is, is written after what it has submitted.
"""

from __future__ import annotations

import logging

import trio

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.executions import Executions
from goflow_trio.actors.submitting import submit
from goflow_trio.core.messages import Event, ExecutionFinished, FeedReset
from goflow_trio.core.states import State
from goflow_trio.errors import EngineClosed, GoflowError, Overloaded, StoreUnavailable

logger = logging.getLogger("goflow_trio.scheduler")

_RETRY_SECONDS = 1.0


class Triggers:
    """Submits what follows. Start its actor with `nursery.start_soon(triggers.run)`.

    Args:
        executions: where it is run.
    """

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._store = executions.store
        self._on_success: dict[str, list[str]] = {}
        self._on_end: dict[str, list[str]] = {}
        for job in executions.registry.jobs.values():
            for name in job.after:
                self._on_success.setdefault(name, []).append(job.name)
            for name in job.after_done:
                self._on_end.setdefault(name, []).append(job.name)

    @property
    def needed(self) -> bool:
        """Whether any job follows another."""
        return bool(self._on_success or self._on_end)

    async def open(self) -> int:
        """Return the position to begin after: where it was last time; where the log is now, if it never was."""
        data = await self._store.backend.get(keys.TRIGGERS)
        if data is None:
            seq = self._store.ledger.seq
            await self._remember(seq)
            return seq
        return int(codec.decode_mapping(data, "triggers")["seq"])

    async def run(self, after: int) -> None:
        """Follow what ends, until cancelled.

        Args:
            after: from `open`.
        """
        with self._store.feed.subscribe(types=["execution.finished", "reset"], after=after) as events:
            while batch := await events.receive_batch():
                for event in batch:
                    await self._follow(event)
                await self._remember(batch[-1].seq)

    async def _follow(self, event: Event) -> None:
        if isinstance(event, FeedReset):
            logger.warning("what ended while the log was cut is not followed by the jobs that run after it")
        if not isinstance(event, ExecutionFinished):
            return
        followers = [*self._on_end.get(event.job, ())]
        if event.state is State.SUCCESSFUL:
            followers += [name for name in self._on_success.get(event.job, ()) if name not in followers]
        for name in followers:
            await self._submit(name, event)

    async def _submit(self, name: str, event: Event) -> None:
        while True:
            try:
                await submit(
                    self._executions, name, idempotency_key=f"after {event.execution}", trigger=f"after {event.job}"
                )
            except (StoreUnavailable, Overloaded) as error:
                logger.warning("job %s, which runs after %s, waits: %s", name, event.job, error)
                await trio.sleep(_RETRY_SECONDS)
            except EngineClosed:
                await trio.sleep_forever()
            except GoflowError:
                logger.exception("job %s could not be run after %s", name, event.job)
                return
            else:
                return

    async def _remember(self, seq: int) -> None:
        while True:
            try:
                await self._store.backend.put({keys.TRIGGERS: codec.encode_mapping({"seq": seq})})
            except StoreUnavailable:
                await trio.sleep(_RETRY_SECONDS)
            else:
                return
