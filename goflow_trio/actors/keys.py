"""Where things are in a backend: every key is made here, and nowhere else.

| key | holds |
|---|---|
| `meta` | that the store is ours, and its format |
| `copying` | that a copy into this store was begun and is not finished; how far it came |
| `epoch/<n>` | who holds the store, or held it, and from which position of the log on it wrote |
| `log/<epoch>/<first position>` | one segment: all events of one flush. Writing it is the commit. The last is a fence |
| `checkpoint/<epoch>/<position>` | where the next start begins to read; the schedules and what was live then |
| `live/<epoch>/<execution>/<version>` | snapshot of an execution that was unfinished at the checkpoint |
| `executions/<flipped id>` | snapshot of a finished execution; ascending is newest first |
| `by-job/…`, `by-state/…`, `by-both/…` | the same order, by job, by state and by both; empty values |
| `parts/<key of the snapshot>/<version>/<n>` | parts of a snapshot too large for one value |
| `definitions/<digest>` | a graph that executions run on |
| `output/<execution>/<task>/<attempt>/<n>` | block `n` of what an attempt printed |
| `triggers` | up to which position of the log ends of executions were followed by the jobs that run after them |
| `idempotency/<job>/<digest of key>` | the execution a submit with that key stands for |

What an engine may overwrite lies under its own epoch, so that one which was taken over from can spoil nothing.
"""

from __future__ import annotations

import hashlib
from typing import Final

from goflow_trio.errors import CodecError

META: Final = "meta"
COPYING: Final = "copying"
CHECKPOINTS: Final = "checkpoint/"
TRIGGERS: Final = "triggers"
LOG: Final = "log/"
EPOCHS: Final = "epoch/"
LIVE: Final = "live/"
EXECUTIONS: Final = "executions/"
BY_JOB: Final = "by-job/"
BY_STATE: Final = "by-state/"
BY_BOTH: Final = "by-both/"
PARTS: Final = "parts/"
IDEMPOTENCY: Final = "idempotency/"

_LONGEST_PART: Final = 300
_FLIP: Final = str.maketrans("0123456789abcdef", "fedcba9876543210")


def flip(execution: str) -> str:
    """Return an id whose order is reversed: stores scan upwards, readers want the newest first. Its own inverse."""
    return execution.translate(_FLIP)


def part(name: str) -> str:
    """Return a name as one part of a key: without `/`, and short."""
    escaped = name.replace("%", "%25").replace("/", "%2F")
    if len(escaped.encode()) <= _LONGEST_PART:
        return escaped
    return "%" + hashlib.blake2b(name.encode(), digest_size=16).hexdigest()


def epoch(number: int) -> str:
    """Return the key of an epoch's record."""
    return f"{EPOCHS}{number:08d}"


def segment(epoch_number: int, first: int) -> str:
    """Return the key of the segment whose first event has position `first`."""
    return f"{LOG}{epoch_number:08d}/{first:016d}"


def segment_first(key: str) -> int:
    """Return the position of the first event of the segment under this key."""
    return _number(key, -1)


def checkpoint(epoch_number: int, seq: int) -> str:
    """Return the key of the checkpoint at a position. Each has its own, so a late write never undoes a newer one."""
    return f"{CHECKPOINTS}{epoch_number:08d}/{seq:016d}"


def live(epoch_number: int, execution_id: str, version: int) -> str:
    """Return the key of the snapshot of an unfinished execution. Each version has its own, as with checkpoints."""
    return f"{LIVE}{epoch_number:08d}/{execution_id}/{version:08d}"


def number_of(key: str) -> int:
    """Return the epoch in a key: of `epoch/<n>`, or of what lies under one."""
    return _number(key, 1)


def _number(key: str, place: int) -> int:
    """Return the number that is one part of a key.

    Raises:
        CodecError: there is none: this is no key of ours, or a damaged one.
    """
    parts = key.split("/")
    if len(parts) < 2 or not parts[place].isdecimal():  # noqa: PLR2004
        raise CodecError(f"{key}: this is no key of goflow-trio's, or it was changed")
    return int(parts[place])


def execution(execution_id: str) -> str:
    """Return the key of the snapshot of a finished execution."""
    return EXECUTIONS + flip(execution_id)


def snapshot_part(key: str, version: int, number: int) -> str:
    """Return the key of one part of a large snapshot under `key`; each version has parts of its own."""
    return f"{snapshot_parts(key)}{version:08d}/{number:06d}"


def snapshot_parts(key: str) -> str:
    """Return the prefix of all parts of the snapshots under `key`."""
    return f"{PARTS}{key}/"


def listing(job_name: str | None, state: str | None) -> str:
    """Return the prefix under which finished executions are listed, newest first, by job, state, both or neither."""
    if job_name is not None and state is not None:
        return f"{BY_BOTH}{part(job_name)}/{state}/"
    if job_name is not None:
        return f"{BY_JOB}{part(job_name)}/"
    if state is not None:
        return f"{BY_STATE}{state}/"
    return EXECUTIONS


def definition(digest: str) -> str:
    """Return the key of a graph."""
    return f"definitions/{digest}"


def outputs(execution_id: str) -> str:
    """Return the prefix of all that an execution printed."""
    return f"output/{execution_id}/"


def output(execution_id: str, task: str, attempt: int) -> str:
    """Return the prefix of the blocks of what an attempt printed."""
    return f"{outputs(execution_id)}{part(task)}/{attempt:06d}/"


def output_block(execution_id: str, task: str, attempt: int, number: int) -> str:
    """Return the key of one block of what an attempt printed."""
    return f"{output(execution_id, task, attempt)}{number:010d}"


def idempotency(job_name: str, key: str) -> str:
    """Return the key of the claim that a submit with an idempotency key makes."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{IDEMPOTENCY}{part(job_name)}/{digest}"
