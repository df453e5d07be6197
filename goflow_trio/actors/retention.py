"""Removes finished executions that are too old or too many, in small steps, with all that belongs to them.

It never goes through a whole store: the listing of a job is in the order of age, so what is too old is behind one key
of it, and what is too many behind the `count`-th. What is to go is removed so that an end in the middle leaves either
all of an execution's listing by job, from which the next sweep finds it again, or nothing of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import trio
from attrs import define

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.history import first_id_at
from goflow_trio.actors.ledger import Ledger
from goflow_trio.actors.patience import Patience
from goflow_trio.core import limits
from goflow_trio.core.states import FINAL
from goflow_trio.errors import CodecError
from goflow_trio.jobs.retention import Retention
from goflow_trio.stores import Backend

DEFAULT = Retention(days=limits.RETENTION_DAYS, count=limits.RETENTION_COUNT)
"""What is kept of a job that says nothing of it, or is not defined any more."""

_LAST = "\U0010ffff"
_OUTPUT_PAGE = 100
_PRINTING_SECONDS = 10.0
_LOOK_SECONDS = 0.5


@define
class Removed:
    """What a sweep has done so far.

    Args:
        executions: how many went.
        claims: how many idempotency keys went.
        keys: how many keys of the backend that were in all.
    """

    executions: int = 0
    claims: int = 0
    keys: int = 0


class Sweep:
    """One way through a store; a step at a time, so that who takes the steps says how fast it goes.

    Args:
        backend: where.
        ledger: knows what lives, and must forget what goes.
        policies: by name of the job.
        others: of all other jobs; `DEFAULT` if it is not given.
        now: what counts as now.
        patience: the dealings with the backend.
        dry_run: only count.

    Attributes:
        removed: what was done so far.
    """

    def __init__(
        self,
        backend: Backend,
        ledger: Ledger,
        policies: Mapping[str, Retention],
        now: datetime,
        patience: Patience,
        *,
        others: Retention | None = None,
        dry_run: bool = False,
    ) -> None:
        self.removed = Removed()
        self._backend = backend
        self._ledger = ledger
        self._policies = {keys.part(job): policy for job, policy in policies.items()}
        self._others = DEFAULT if others is None else others
        self._now = now
        self._patience = patience
        self._dry_run = dry_run
        self._next: Callable[[], Awaitable[bool]] = self._find_job
        self._part = ""  # of the job's keys
        self._after = ""  # the key that was reached, in what is gone through
        self._left: int | None = None  # how many more of the job may stay
        self._cut: str | None = None  # behind this key of the job's listing, all goes
        self._kept_from: dict[str, str] = {}  # by part: older ids are gone

    async def step(self) -> bool:
        """Do a little; return whether there is more to do."""
        return await self._next()

    async def _find_job(self) -> bool:
        """Go to the listing of the next job."""
        rows = await self._patience.insist(self._backend.scan, keys.BY_JOB, self._after, 1)
        if not rows:
            self._after = ""
            self._next = self._remove_claims
            return True
        self._part = rows[0][0].split("/")[1]
        policy = self._policies.get(self._part, self._others)
        self._after = self._prefix
        self._left = policy.count
        oldest = self._oldest_by_age(self._part)
        self._cut = None if not oldest else self._prefix + keys.flip(oldest)
        self._next = self._find_cut
        return True

    @property
    def _prefix(self) -> str:
        return f"{keys.BY_JOB}{self._part}/"

    def _oldest_by_age(self, part: str) -> str:
        """Return an id, before which all are too old; empty if none is."""
        days = self._policies.get(part, self._others).days
        if days is None:
            return ""
        try:
            return first_id_at(self._now - timedelta(days=days))
        except OverflowError:
            return ""

    async def _find_cut(self) -> bool:
        """Go a page down the listing, to find the last that may stay."""
        if self._left is not None:
            most = min(self._left, limits.PRUNE_SCAN)
            rows = await self._patience.insist(self._backend.scan, self._prefix, self._after, most)
            self._after = rows[-1][0] if rows else self._after
            self._left -= len(rows)
            if len(rows) < most or (self._cut is not None and self._after >= self._cut):
                self._left = None  # there are not so many, or age cuts earlier
            elif not self._left:
                self._cut, self._left = self._after, None
            else:
                return True
        if self._cut is None:
            self._after = self._prefix + _LAST
            self._next = self._find_job
            return True
        self._kept_from[self._part] = keys.flip(self._cut.removeprefix(self._prefix)) or _LAST
        self._after = self._cut
        self._next = self._remove_some
        return True

    async def _remove_some(self) -> bool:
        rows = await self._patience.insist(self._backend.scan, self._prefix, self._after, limits.PRUNE_STEP)
        if not rows:
            self._after = self._prefix + _LAST
            self._next = self._find_job
            return True
        self._after = rows[-1][0]
        going = [keys.flip(key.removeprefix(self._prefix)) for key, _ in rows]
        if any(execution in self._ledger.printing for execution in going):
            with trio.move_on_after(_PRINTING_SECONDS):
                await self._until_printed(going)
        going = [execution for execution in going if not self._lives(execution)]
        self.removed.executions += len(going)
        if going and not self._dry_run:
            await self._remove(going)
        return True

    def _lives(self, execution: str) -> bool:
        ledger = self._ledger
        return any(execution in some for some in (ledger.live, ledger.unsaved, ledger.held, ledger.printing))

    async def _until_printed(self, executions: list[str]) -> None:
        """Wait for the last output of executions that are only just over: it must not come after they are gone."""
        # So rare that nobody has to ring a bell for it.
        while any(execution in self._ledger.printing for execution in executions):  # noqa: ASYNC110
            await trio.sleep(_LOOK_SECONDS)

    async def _remove(self, executions: list[str]) -> None:
        doomed: list[str] = []
        for execution in executions:
            flipped = keys.flip(execution)
            for prefix in (keys.outputs(execution), keys.snapshot_parts(keys.execution(execution))):
                doomed += await self._keys_under(prefix)
            doomed += [f"{keys.BY_STATE}{state}/{flipped}" for state in FINAL]
            doomed += [f"{keys.BY_BOTH}{self._part}/{state}/{flipped}" for state in FINAL]
            doomed.append(keys.execution(execution))
        # Last, since it is the way by which the next sweep finds what an end in between has left.
        doomed += [self._prefix + keys.flip(execution) for execution in executions]
        self._ledger.pruning.update(executions)
        for execution in executions:
            self._ledger.forget(execution)
        for start in range(0, len(doomed), limits.PRUNE_SCAN):
            await self._patience.insist(self._backend.delete, doomed[start : start + limits.PRUNE_SCAN])
        self._ledger.pruning.difference_update(executions)
        self.removed.keys += len(doomed)

    async def _keys_under(self, prefix: str) -> list[str]:
        found: list[str] = []
        while rows := await self._patience.insist(self._backend.scan, prefix, found[-1] if found else "", _OUTPUT_PAGE):
            found += [key for key, _ in rows]
            if len(rows) < _OUTPUT_PAGE:
                break
        return found

    async def _remove_claims(self) -> bool:
        """Remove some claims of idempotency keys whose execution is gone, or never came to be."""
        rows = await self._patience.insist(self._backend.scan, keys.IDEMPOTENCY, self._after, limits.PRUNE_SCAN)
        if not rows:
            return False
        self._after = rows[-1][0]
        doomed = []
        for key, data in rows:
            try:
                execution = codec.decode_mapping(data, key).get("execution", "")
            except CodecError:
                continue  # damaged: left as it is
            part = key.split("/")[1]
            oldest = self._kept_from.get(part) or self._oldest_by_age(part)
            if execution < oldest and not self._lives(execution):
                doomed.append(key)
        self.removed.claims += len(doomed)
        if doomed and not self._dry_run:
            await self._patience.insist(self._backend.delete, doomed)
            self.removed.keys += len(doomed)
        return True
