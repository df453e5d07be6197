"""Moves a whole store: to another one, of any kind, or to a file of JSON lines and back (see docs/durability.md).

The target has to be empty, or hold the beginning of the same transfer, which then goes on. A mark is in it from the
first write to the last, so that no engine opens half a store.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from attrs import fields

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.inspection import check_not_in_use, next_page
from goflow_trio.actors.patience import timed
from goflow_trio.actors.plain_json import from_json, to_json
from goflow_trio.actors.segments import is_fence
from goflow_trio.actors.snapshots import finished_pairs, read_snapshot, snapshot_pairs
from goflow_trio.core.record import AttemptRecord, ExecutionRecord, TaskRecord
from goflow_trio.errors import CodecError, GoflowError, StoreError, StoreIncompatible, UsageError
from goflow_trio.stores import Backend

EXPORT_FORMAT: Final = 1
"""Version of the lines of an export."""

_BATCH = 200
_WRITE_SECONDS = 60.0
_REMADE = (keys.BY_JOB, keys.BY_STATE, keys.BY_BOTH, keys.PARTS)  # follow from the snapshots
_RECORD = tuple(f.name for f in fields(ExecutionRecord))
_TASK = tuple(f.name for f in fields(TaskRecord))
_ATTEMPT = tuple(f.name for f in fields(AttemptRecord))

Progress = Callable[[int], None]


async def copy_store(source: Backend, target: Backend, now: datetime, progress: Progress = lambda _: None) -> int:
    """Copy everything from one store into another; return how many keys the target then has of it.

    Raises:
        StoreInUse: an engine works on one of them.
        UsageError: the target holds something else.
        StoreError: one of them cannot be read or written; the same copy may be begun again, and goes on.
    """
    lease = await check_not_in_use(source, now)
    meta = await timed(source.get, keys.META)
    if meta is None:
        raise UsageError("the source is no goflow-trio store, or is empty: there is nothing to copy")
    mark = await _Mark.begin(target, hashlib.sha256(meta).hexdigest())
    after, done = mark.after, mark.done
    while rows := await next_page(source, after):
        pairs = {key: value for key, value in rows if key not in {keys.META, keys.COPYING}}
        await timed(target.put, pairs, seconds=_WRITE_SECONDS)
        done += len(pairs)
        progress(len(rows))
        after = rows[-1][0]
        await mark.reached(after, done)
    if await check_not_in_use(source, now) != lease:
        raise StoreError("the source was opened by an engine meanwhile: stop it, and copy into another, empty target")
    await mark.end(meta)
    return done + 1


class _Mark:
    """What says in the target that it is not whole yet, and how far it has come."""

    def __init__(self, target: Backend, source: str, after: str, done: int) -> None:
        self.after, self.done = after, done
        self._target, self._source = target, source

    @classmethod
    async def begin(cls, target: Backend, source: str) -> _Mark:
        data = await timed(target.get, keys.COPYING)
        if data is not None:
            begun = codec.decode_mapping(data, keys.COPYING)
            if begun["source"] == source:
                return cls(target, source, begun["after"], begun["done"])
            raise UsageError("the target holds the beginning of a copy of another store; name an empty one")
        if await timed(target.scan, "", "", 1):
            raise UsageError("the target is not empty; name a store that holds nothing")
        mark = cls(target, source, "", 0)
        await mark.reached("", 0)
        return mark

    async def reached(self, after: str, done: int) -> None:
        body = {"source": self._source, "after": after, "done": done}
        await timed(self._target.put, {keys.COPYING: codec.encode_mapping(body)})

    async def end(self, meta: bytes) -> None:
        await timed(self._target.put, {keys.META: meta})
        await timed(self._target.delete, [keys.COPYING])


# Export ---------------------------------------------------------------------------------------------


async def export_store(source: Backend, now: datetime, write: Callable[[str], object]) -> int:
    """Write a store as lines of JSON; return how many of them are records.

    Args:
        source: which.
        now: the time.
        write: takes a line with its end.

    Raises:
        UsageError: it is empty.
        StoreInUse: an engine works on it.
        StoreError: it cannot be read.
    """
    await check_not_in_use(source, now)
    meta = await timed(source.get, keys.META)
    if meta is None:
        raise UsageError("this is no goflow-trio store, or it is empty: there is nothing to export")
    created = codec.decode_mapping(meta, keys.META).get("created")
    header = {"goflow-trio": "export", "format": EXPORT_FORMAT, "exported": now, "created": created}
    write(_dump({**to_json(header), "exported": now.isoformat()}))
    count, after = 0, ""
    while rows := await next_page(source, after):
        for key, data in rows:
            if key not in {keys.META, keys.COPYING} and not key.startswith(_REMADE):
                write(_dump(await _line(source, key, data)))
                count += 1
        after = rows[-1][0]
    write(_dump({"end": count}))
    return count


def _dump(line: Mapping[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


async def _line(source: Backend, key: str, data: bytes) -> dict[str, Any]:
    try:
        if key.startswith((keys.EXECUTIONS, keys.LIVE)):
            record, _ = await read_snapshot(source, key, data)
            return {"key": key, "execution": to_json(_named_record(codec.unseal(codec.encode_record(record))))}
        if key.startswith(keys.LOG) and not is_fence(data):
            return {"key": key, "events": [to_json(_named_event(row)) for row in codec.unseal(data, key, "segment")]}
        return {"key": key, "body": to_json(codec.unseal(data, key, "mapping"))}
    except StoreIncompatible:
        raise
    except (CodecError, TypeError, KeyError) as error:  # exported as it is, and told
        return {"key": key, "raw": base64.b64encode(data).decode(), "damaged": str(error)}


def _named_record(row: list[Any]) -> dict[str, Any]:
    values = dict(zip(_RECORD, row, strict=False))
    values["tasks"] = [dict(zip(_TASK, task, strict=False)) for task in values["tasks"]]
    for task in values["tasks"]:
        task["attempts"] = [dict(zip(_ATTEMPT, attempt, strict=False)) for attempt in task["attempts"]]
    return values


def _record_row(values: Mapping[str, Any]) -> list[Any]:
    tasks = [{**task, "attempts": [_row(_ATTEMPT, one) for one in task["attempts"]]} for task in values["tasks"]]
    return _row(_RECORD, {**values, "tasks": [_row(_TASK, task) for task in tasks]})


def _row(names: Iterable[str], values: Mapping[str, Any]) -> list[Any]:
    return [values[name] for name in names if name in values]


def _named_event(row: list[Any]) -> dict[str, Any]:
    return {"type": row[0], **dict(zip(codec.EVENT_FIELDS[row[0]], row[1:], strict=False))}


def _event_row(values: Mapping[str, Any]) -> list[Any]:
    return [values["type"], *_row(codec.EVENT_FIELDS[values["type"]], values)]


# Import ---------------------------------------------------------------------------------------------


async def import_lines(lines: Iterator[str], target: Backend, progress: Progress = lambda _: None) -> int:
    """Read an export into an empty store; return how many of its lines became records.

    Raises:
        UsageError: this is no export, or is cut short or changed, or the target holds something else.
        StoreError: the target cannot be written; the same import may be begun again.
    """
    first = next(lines, "")
    header = _parse(first, 1)
    if header.get("goflow-trio") != "export":
        raise UsageError("this is no export of a goflow-trio store: its first line does not say so")
    if header.get("format") != EXPORT_FORMAT:
        raise UsageError(
            f"the export has format {header.get('format')}; this goflow-trio reads format {EXPORT_FORMAT}: use a newer "
            "one"
        )
    mark = await _Mark.begin(target, hashlib.sha256(first.encode()).hexdigest())
    count, end = 0, None
    pairs: dict[str, bytes] = {}
    for number, text in enumerate(lines, start=2):
        line = _parse(text, number)
        if "end" in line:
            end = line["end"]
            break
        try:
            pairs |= _pairs(line)
        except (GoflowError, TypeError, KeyError, ValueError, IndexError) as error:
            raise UsageError(f"line {number} of the export cannot be used: {type(error).__name__}: {error}") from None
        count += 1
        if len(pairs) >= _BATCH or count % _BATCH == 0:
            await timed(target.put, pairs, seconds=_WRITE_SECONDS)
            pairs = {}
            progress(count)
    if end != count:
        raise UsageError(f"the export is cut short: {count} records came, and its end is missing or says {end}")
    await timed(target.put, pairs, seconds=_WRITE_SECONDS)
    progress(count)
    await mark.end(codec.encode_mapping({"format": codec.FORMAT_VERSION, "created": from_json(header.get("created"))}))
    return count


def _parse(text: str, number: int) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise UsageError(f"line {number} of the export is no JSON: {error}") from None
    if not isinstance(line, dict):
        raise UsageError(f"line {number} of the export is no object")
    return line


def _pairs(line: Mapping[str, Any]) -> dict[str, bytes]:
    key = line["key"]
    if "execution" in line:
        record = codec.decode_record(codec.seal(_record_row(from_json(line["execution"]))), key)
        return finished_pairs(record) if key.startswith(keys.EXECUTIONS) else snapshot_pairs(key, record)
    if "events" in line:
        return {key: codec.seal([_event_row(from_json(event)) for event in line["events"]])}
    if "raw" in line:
        return {key: base64.b64decode(line["raw"], validate=True)}
    return {key: codec.seal(from_json(line["body"]))}
