"""Who holds a store: one engine at a time, which says so in its epoch's record and renews that while it lives.

The record decides only how an opener is *answered*: it names the holder, and tells a dead one from a living one. That
no two engines ever write is not its business but the fence's (see `recovery`), so clocks that differ and
processes that sleep do no harm. A holder on the same machine is looked at directly: its process either is there, or
the store is free at once, as after a SIGKILL.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import trio
from attrs import asdict, field, fields, frozen

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.patience import Patience
from goflow_trio.core import limits
from goflow_trio.errors import StoreFenced, StoreUnavailable
from goflow_trio.stores import Backend

_HELD_HERE: Final[set[str]] = set()
"""Tokens of the leases that engines of this process hold."""


@frozen
class Holder:
    """An engine, as others see it.

    Args:
        host: the machine's name.
        place: what its process ids are unique in: this boot of the machine, this process namespace.
        pid: its process.
        process_started: when that process began, in the machine's own count; tells it from a later one of its number.
        token: tells engines of one process apart.
        since: when it opened the store.
        url: where it listens, if it does and has said so.
    """

    host: str
    place: str
    pid: int
    process_started: str
    token: str
    since: datetime
    url: str = ""

    def __str__(self) -> str:
        where = f" at {self.url}" if self.url else ""
        return f"process {self.pid} on {self.host}{where} (since {self.since.isoformat(timespec='seconds')})"


@frozen
class Lease:
    """An epoch's record.

    Args:
        first: position of the epoch's first event.
        holder: who holds the store, or held it.
        renewed: when it last said so.
        released: whether it has ended, and let go.
        reached: how far the log had come by then, at least: so that an end of it that is lost is missed.
    """

    first: int
    holder: Holder
    renewed: datetime
    released: bool = False
    reached: int = 0

    def encode(self) -> bytes:
        """Return it as bytes."""
        return codec.encode_mapping({**asdict(self, recurse=False), "holder": asdict(self.holder)})

    def has_run_out(self, now: datetime) -> bool:
        """Return whether the holder has not said for too long that it lives."""
        return (now - self.renewed).total_seconds() >= limits.LEASE_SECONDS


def read_lease(data: bytes, key: str) -> Lease:
    """Return the lease in an epoch's record.

    Raises:
        CodecError: the bytes are not what was written.
    """
    values = codec.decode_mapping(data, key)
    holder = Holder(**_known(Holder, values["holder"]))
    return Lease(**_known(Lease, {**values, "holder": holder}))


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def this_engine(now: datetime, token: str) -> Holder:
    """Return the holder that this process is."""
    return Holder(socket.gethostname(), _place(), os.getpid(), _process_started(os.getpid()) or "", token, now)


def is_dead(holder: Holder) -> bool:
    """Return whether a holder is certainly gone; one on another machine cannot be seen from here."""
    if (holder.host, holder.place) != (socket.gethostname(), _place()):
        return False
    if holder.pid == os.getpid() and holder.process_started == (_process_started(os.getpid()) or ""):
        return holder.token not in _HELD_HERE
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    started = _process_started(holder.pid)
    return started is not None and started != holder.process_started


def _place() -> str:
    """Return what process ids are unique in; empty where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _process_started(pid: int) -> str | None:
    """Return when a process began, as proc(5) tells it (field 22); None if it is not there, or not told."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return None
    name_and_before, _, after = status.rpartition(")")
    parts = after.split()
    if not name_and_before:
        return None
    return "ended" if parts[0] in {"Z", "X"} else parts[19]


@frozen(eq=False)
class Renewal:
    """The actor that renews a lease, and finds out if another engine has taken the store.

    Args:
        backend: where.
        epoch: the number held.
        lease: as it was claimed.
        patience: this actor's dealings with the backend.
        reached: returns how far the log has come.
    """

    backend: Backend
    epoch: int
    lease: Lease
    patience: Patience
    reached: Callable[[], int]
    _url: list[str] = field(factory=list)

    def listens_at(self, url: str) -> None:
        """Say so from the next renewal on."""
        self._url[:] = [url]

    async def run(self, now: Any) -> None:
        """Renew until cancelled.

        Raises:
            StoreFenced: another engine has taken the store.
        """
        wait = limits.LEASE_RENEWAL_SECONDS
        while True:
            await trio.sleep(wait)
            try:
                await self.check()
                await self.patience.once(self.backend.put, {keys.epoch(self.epoch): self._record(now())})
            except StoreUnavailable:  # noted; what others may do meanwhile, the fence takes care of
                wait = limits.STORE_RETRY_MOST_SECONDS
            else:
                wait = limits.LEASE_RENEWAL_SECONDS

    async def check(self) -> None:
        """See whether the store is still ours.

        Raises:
            StoreFenced: it is not.
            StoreUnavailable: that cannot be seen now.
        """
        key = keys.epoch(self.epoch + 1)
        data = await self.patience.once(self.backend.get, key)
        if data is not None:
            raise fenced(data, key)

    async def release(self, now: datetime) -> None:
        """Let go of the store, so that the next engine need not ask whether this one lives."""
        await self.patience.once(self.backend.put, {keys.epoch(self.epoch): self._record(now, released=True)})

    def _record(self, now: datetime, *, released: bool = False) -> bytes:
        holder = self.lease.holder
        if self._url:
            holder = Holder(**{**asdict(holder), "url": self._url[0]})
        return Lease(self.lease.first, holder, now, released, self.reached()).encode()


def fenced(data: bytes | None, key: str) -> StoreFenced:
    """Return the error of an engine that finds another one in its place, from that one's record."""
    try:
        who = str(read_lease(data or b"", key).holder)
    except Exception:  # noqa: BLE001  # the name is a courtesy
        who = "another engine"
    return StoreFenced(f"{who} took over this store: this engine can no longer write to it, and stops")


def hold(token: str) -> None:
    """Note that an engine of this process holds a lease."""
    _HELD_HERE.add(token)


def let_go(token: str) -> None:
    """Note that it ended, however it did."""
    _HELD_HERE.discard(token)
