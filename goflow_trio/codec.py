"""Events and records to bytes and back. The only file that knows msgpack.

Stored bytes are `"GT"`, the format version (1 byte), the CRC-32 of version and body (4 bytes) and the body: msgpack.
Values go in as flat lists in the order of their fields: fields are only ever added at the end with a default, so that
an older record reads as one that has the default. A changed byte anywhere is detected, a newer version is refused by
name, and nothing that comes out of a store is ever executed.

A change that a default cannot express raises `FORMAT_VERSION` and adds to `UPGRADES` how a body of the version before
becomes one of the new. Older records are brought up to date as they are read, one version after the other, and written
anew whenever they are written anyway; so an upgrade needs no time of its own and may be cut off anywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, Literal

import msgpack
from attrs import fields, frozen

from goflow_trio.core import limits
from goflow_trio.core.messages import EVENT_TYPES, Event, TaskError
from goflow_trio.core.plan import Shape
from goflow_trio.core.record import AttemptRecord, ExecutionRecord, Reopening, TaskRecord, item_results
from goflow_trio.core.states import State
from goflow_trio.errors import CodecError, StoreIncompatible

FORMAT_VERSION: Final = 1
"""Version of everything this file writes."""

Kind = Literal["segment", "record", "graph", "mapping"]
"""What a body is."""

UPGRADES: Final[dict[int, Callable[[Kind, Any], Any]]] = {}
"""By version: a function that makes a body of that version one of the next."""

_MAGIC: Final = b"GT"
_HEADER_BYTES: Final = 7


# Values --------------------------------------------------------------------------------------------


@frozen
class Placeholder:
    """What is kept in place of a value that could not be.

    Args:
        type: the value's class name.
        reason: why it was not kept.
    """

    type: str
    reason: str

    def as_plain(self) -> dict[str, str]:
        """Return it as the mapping that is stored and sent."""
        return {"$unstored": self.type, "reason": self.reason}


def storable(value: object, most: int = limits.RESULT_BYTES) -> Any:
    """Return `value` as the plain data that comes back from the store, or a placeholder for it as plain data.

    A task's state must never depend on whether its result can be encoded, so this raises nothing: sets, cycles,
    whole numbers over 64 bits, lone surrogates, classes and what is larger than `most` bytes become
    `{"$unstored": type, "reason": …}`. Tuples become lists; attrs classes and other objects are not looked into.
    """
    if value is None or isinstance(value, bool):  # most results; the round trip below costs 3 µs
        return value
    try:
        packed = msgpack.packb(value, datetime=True, strict_types=False)
        if len(packed) > most:
            reason = f"{len(packed)} bytes are over the limit of {most}"
            return Placeholder(type(value).__name__, reason).as_plain()
        return msgpack.unpackb(packed, timestamp=3, strict_map_key=False)
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception as error:  # noqa: BLE001  # whatever a value of the user's does, it is only not kept
        reason = f"{type(error).__name__}: {error}"
    return Placeholder(type(value).__name__, reason[: limits.ERROR_CHARS]).as_plain()


# Sealed bytes --------------------------------------------------------------------------------------


def seal(body: Any) -> bytes:
    """Return plain data as bytes with version and checksum."""
    return _seal_packed(msgpack.packb(body, datetime=True))


def _seal_packed(packed: bytes) -> bytes:
    return _MAGIC + bytes((FORMAT_VERSION,)) + _checksum(FORMAT_VERSION, packed).to_bytes(4) + packed


def _checksum(version: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(bytes((version,))))


def unseal(data: bytes, what: str = "record", kind: Kind = "record") -> Any:
    """Return the plain data of sealed bytes, brought up to the version of today.

    Args:
        data: what the store gave.
        what: names the thing in errors.
        kind: what it is, for upgrades.

    Raises:
        CodecError: it is not ours, cut short, or changed.
        StoreIncompatible: it is whole, and of a version that is not understood here.
    """
    if len(data) < _HEADER_BYTES or data[:2] != _MAGIC:
        raise CodecError(f"{what}: these bytes were not written by goflow-trio, or are cut short")
    version, body = data[2], data[_HEADER_BYTES:]
    if _checksum(version, body) != int.from_bytes(data[3:_HEADER_BYTES]):
        raise CodecError(f"{what}: the checksum is wrong; its bytes were changed or lost")
    if version > FORMAT_VERSION:
        raise StoreIncompatible(
            f"{what}: it was written in format {version}; this goflow-trio reads formats up to {FORMAT_VERSION}: "
            "use a newer one"
        )
    try:
        plain = msgpack.unpackb(body, timestamp=3, strict_map_key=False, use_list=True)
    except Exception as error:
        raise CodecError(f"{what}: {type(error).__name__}: {error}") from error
    while version < FORMAT_VERSION:
        if version not in UPGRADES:
            raise StoreIncompatible(
                f"{what}: it was written in format {version}, which this goflow-trio no longer reads; "
                "open the store with an older one first"
            )
        plain = UPGRADES[version](kind, plain)
        version += 1
    return plain


# Events --------------------------------------------------------------------------------------------

EVENT_FIELDS: Final = {name: tuple(f.name for f in fields(kind) if f.init) for name, kind in EVENT_TYPES.items()}
"""The fields of an event in the order they are written, by its type."""

_EVENT_VALUES: Final = {name: attrgetter(*names) for name, names in EVENT_FIELDS.items()}
_EVENT_ERRORS: Final = {name: names.index("error") + 1 for name, names in EVENT_FIELDS.items() if "error" in names}


def pack_event(event: Event) -> list[Any]:
    """Return an event as plain data, without its position in the log (the segment's key tells it)."""
    kind = event.type
    values = [kind, *_EVENT_VALUES[kind](event)]
    error = _EVENT_ERRORS.get(kind)
    if error is not None:
        values[error] = _plain(values[error])
    return values


def encode_segments(events: Sequence[Event]) -> Iterator[tuple[int, bytes]]:
    """Yield the position of the first event and the bytes of each segment that numbered events are written as.

    Mostly one; more when they are over `limits.SEGMENT_EVENTS` or about `limits.SEGMENT_BYTES`.
    """
    rows: list[bytes] = []
    size = 0
    pack = msgpack.Packer(datetime=True).pack
    for event in events:
        rows.append(pack(pack_event(event)))
        size += len(rows[-1])
        if size > limits.SEGMENT_BYTES or len(rows) == limits.SEGMENT_EVENTS:
            yield event.seq + 1 - len(rows), _seal_packed(_join(rows))
            rows, size = [], 0
    if rows:
        yield events[-1].seq + 1 - len(rows), _seal_packed(_join(rows))


def _join(rows: list[bytes]) -> bytes:
    """Return packed values as one packed list."""
    return bytes(msgpack.Packer().pack_array_header(len(rows))) + b"".join(rows)


def decode_segment(data: bytes, first: int) -> list[Event]:
    """Return the events of a segment, numbered from `first`.

    Raises:
        CodecError: the bytes are not what was written.
    """
    what = f"log segment {first}"
    events = []
    for seq, row in enumerate(_rows(unseal(data, what, "segment"), what), start=first):
        event = unpack_event(row, what)
        event.seq = seq
        events.append(event)
    return events


def unpack_event(row: Sequence[Any], what: str = "event") -> Event:
    """Return the event that `pack_event` made plain.

    Raises:
        CodecError: it is not one.
    """
    try:
        if row[0] not in EVENT_TYPES:
            raise CodecError(f"{what}: no event is called {row[0]!r} here; a newer goflow-trio may have written it")
        kind = EVENT_TYPES[row[0]]
        values = dict(zip(EVENT_FIELDS[row[0]], row[1:], strict=False))
        if values.get("error") is not None:
            values["error"] = TaskError(*values["error"])
        if "state" in values:
            values["state"] = State(values["state"])
        for name in ("tasks", "chosen", "items"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        return kind(**values)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise CodecError(f"{what}: {type(error).__name__}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, TaskError):
        return (value.type, value.message, value.traceback)
    return value


def _rows(body: Any, what: str) -> list[Any]:
    if not isinstance(body, list):
        raise CodecError(f"{what}: a list was expected, not {type(body).__name__}")
    return body


# Records -------------------------------------------------------------------------------------------

_RECORD_FIELDS: Final = tuple(f.name for f in fields(ExecutionRecord))
_TASK_FIELDS: Final = tuple(f.name for f in fields(TaskRecord))
_ATTEMPT_FIELDS: Final = tuple(f.name for f in fields(AttemptRecord))


def encode_record(record: ExecutionRecord) -> bytes:
    """Return a snapshot of a record."""
    values = [getattr(record, name) for name in _RECORD_FIELDS]
    values[_RECORD_FIELDS.index("tasks")] = [_pack_task(task) for task in record.tasks.values()]
    values[_RECORD_FIELDS.index("params")] = dict(record.params)
    values[_RECORD_FIELDS.index("reopenings")] = [
        (one.at, one.by, one.reason, one.tasks, one.start) for one in record.reopenings
    ]
    return seal(values)


def decode_record(data: bytes, what: str = "execution") -> ExecutionRecord:
    """Return the record of a snapshot.

    Raises:
        CodecError: the bytes are not what was written.
    """
    body = _rows(unseal(data, what), what)
    try:
        values = dict(zip(_RECORD_FIELDS, body, strict=False))
        tasks = [_unpack_task(row) for row in values["tasks"]]
        values["tasks"] = {task.name: task for task in tasks}
        for task in tasks:
            if task.items is not None:
                task.result = item_results(values["tasks"], task) if task.result else None
        values["state"] = State(values["state"])
        values["ending"] = None if values.get("ending") is None else State(values["ending"])
        values["reopenings"] = [
            Reopening(at, by, reason, tuple(names), *more)
            for at, by, reason, names, *more in values.get("reopenings", ())
        ]
        return ExecutionRecord(**values)
    except (TypeError, ValueError, KeyError) as error:
        raise CodecError(f"{what}: {type(error).__name__}: {error}") from error


def _pack_task(task: TaskRecord) -> list[Any]:
    values = [getattr(task, name) for name in _TASK_FIELDS]
    if task.items is not None:  # it is a list of results that are kept already
        values[_TASK_FIELDS.index("result")] = task.result is not None
    values[_TASK_FIELDS.index("attempts")] = [
        [_plain(getattr(attempt, name)) for name in _ATTEMPT_FIELDS] for attempt in task.attempts
    ]
    return values


def _unpack_task(row: Sequence[Any]) -> TaskRecord:
    values = dict(zip(_TASK_FIELDS, row, strict=False))
    values["state"] = State(values["state"])
    values["attempts"] = [_unpack_attempt(attempt) for attempt in values["attempts"]]
    if values.get("chosen") is not None:
        values["chosen"] = tuple(values["chosen"])
    return TaskRecord(**values)


def _unpack_attempt(row: Sequence[Any]) -> AttemptRecord:
    values = dict(zip(_ATTEMPT_FIELDS, row, strict=False))
    values["state"] = State(values["state"])
    if values.get("error") is not None:
        values["error"] = TaskError(*values["error"])
    return AttemptRecord(**values)


# Small things --------------------------------------------------------------------------------------


def encode_shape(shape: Shape) -> bytes:
    """Return the stored form of a graph."""
    return seal(shape)


def decode_shape(data: bytes) -> Shape:
    """Return a stored graph.

    Raises:
        CodecError: the bytes are not what was written.
    """
    body = _rows(unseal(data, "graph", "graph"), "graph")
    try:
        return tuple((name, tuple(downstream), rule, kind) for name, downstream, rule, kind in body)
    except (TypeError, ValueError) as error:
        raise CodecError(f"graph: {error}") from error


def encode_block(start: int, marks: Sequence[tuple[int, int, int]], data: bytes | bytearray) -> bytes:
    """Return the stored form of a block of output, see `core/output.py`."""
    return seal((start, marks, bytes(data)))


def decode_block(data: bytes, what: str) -> tuple[int, list[tuple[int, int, int]], bytes]:
    """Return the offset, the marks and the bytes of a block of output.

    Raises:
        CodecError: the bytes are not what was written.
    """
    body = _rows(unseal(data, what), what)
    try:
        start, marks, printed = body
        return int(start), [(int(first), int(at), int(stream)) for first, at, stream in marks], bytes(printed)
    except (TypeError, ValueError) as error:
        raise CodecError(f"{what}: {error}") from error


def encode_mapping(values: Mapping[str, Any]) -> bytes:
    """Return a small mapping as bytes: claims, checkpoints, the state of a schedule."""
    return seal(dict(values))


def decode_mapping(data: bytes, what: str) -> dict[str, Any]:
    """Return a small mapping.

    Raises:
        CodecError: the bytes are not what was written.
    """
    body = unseal(data, what, "mapping")
    if not isinstance(body, dict):
        raise CodecError(f"{what}: a mapping was expected, not {type(body).__name__}")
    return body
