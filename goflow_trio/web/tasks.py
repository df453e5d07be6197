"""The routes about one task of an execution: what it printed, and answering what it asks."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Literal

import trio
from msgspec import Meta, Struct

from goflow_trio.actors.engine import Engine
from goflow_trio.core.output import OutputSlice
from goflow_trio.web import shapes, wire
from goflow_trio.web.answering import problem
from goflow_trio.web.routes import Answer, Headers, Routes

routes = Routes("tasks")

_MOST = 2**53
_HIT_BYTES = 500
_MARKS = 2_000
_RANGE = re.compile(r"bytes=(?P<first>\d{1,16})?-(?P<last>\d{1,16})?")
_Bytes = Annotated[int, Meta(ge=0, le=_MOST)]


class LogRange(Struct):
    """Which part of which attempt."""

    attempt: Annotated[
        Annotated[int, Meta(ge=1, le=_MOST)] | None, Meta(description="which attempt; the last by default")
    ] = None
    offset: Annotated[int, Meta(ge=0, le=_MOST, description="where to begin, in bytes that were printed")] = 0
    limit: Annotated[_Bytes | None, Meta(description="at most so many bytes")] = None
    tail: Annotated[_Bytes | None, Meta(description="instead of `offset`: the last so many bytes")] = None
    format: Annotated[Literal["json", "text"], Meta(description="`text`: the bytes as they are")] = "json"


class LogHeaders(Headers):
    """A range of bytes can be asked for as of any file; it is answered with the bytes as they are."""

    range: Annotated[str, Meta(description="such as `bytes=0-999`, `bytes=1000-` or `bytes=-500`")] = ""


@routes.get("/api/executions/{execution}/tasks/{task}/log", errors=[404, 410, 416], also={206: bytes})
async def read_log(
    engine: Engine, execution: str, task: str, query: LogRange, headers: LogHeaders
) -> Answer | shapes.Log | bytes:
    """What an attempt printed and logged, while it runs and afterwards.

    Offsets count the bytes that were printed. Of a flood the first and the last part are kept: an offset in between
    answers with what is kept after it. To follow, ask again from `nextOffset` until `finished`.
    """
    asked = _RANGE.fullmatch(headers.range)
    if asked is not None and (asked["first"] or asked["last"]):
        return await _partial(engine, execution, task, query, asked)
    found = await engine.output(
        execution, task, attempt=query.attempt, offset=query.offset, limit=query.limit, tail=query.tail
    )
    if query.format == "text":
        return Answer(found.data, headers=_described(found))
    return _as_text(found, is_tail=query.tail is not None)


class LogSearch(Struct):
    """What to look for, in which attempt."""

    search: Annotated[str, Meta(min_length=1, max_length=200, description="this text; A to Z also match a to z")]
    attempt: Annotated[
        Annotated[int, Meta(ge=1, le=_MOST)] | None, Meta(description="which attempt; the last by default")
    ] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="at most so many lines")] = 100


@routes.get("/api/executions/{execution}/tasks/{task}/log/search", errors=[404, 410])
async def search_log(engine: Engine, execution: str, task: str, query: LogSearch) -> shapes.LogHits:
    """The lines of an attempt's output that contain a text, in all of what is kept.

    Lines are numbered as in `line` of the log itself. `truncated`: the middle of a flood is not kept, and so not found.
    """
    wanted = query.search.encode("utf-8", "replace")
    attempt, offset, total, until = query.attempt, 0, 0, 0
    hits: list[shapes.LogHit] = []
    while True:
        part = await engine.output(execution, task, attempt=attempt, offset=offset)
        attempt = part.attempt or attempt
        found, count = await trio.to_thread.run_sync(find_lines, part.data, wanted, query.limit - len(hits))
        hits += [shapes.LogHit(part.line + line, part.offset + place, text) for line, place, text in found]
        total += count
        until = until or part.total  # what is printed meanwhile can wait for the next search
        if not part.data or part.next_offset >= until:
            return shapes.LogHits(part.attempt, total, part.truncated, part.finished, hits)
        offset = part.next_offset


def find_lines(data: bytes, wanted: bytes, most: int) -> tuple[list[tuple[int, int, str]], int]:
    """Find the lines that contain a text; how many, and of the first of them place, offset and text.

    Args:
        data: what was printed.
        wanted: the text; the case of ASCII letters does not matter.
        most: how many to return.
    """
    lower, wanted = data.lower(), wanted.lower()
    found: list[tuple[int, int, str]] = []
    count = line = begin = 0
    at = lower.find(wanted)
    while at >= 0:
        line += data.count(b"\n", begin, at)
        begin = data.rfind(b"\n", 0, at) + 1
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        if len(found) < most:
            first = begin if at - begin < _HIT_BYTES // 2 else at - _HIT_BYTES // 4  # a long line is cut around it
            found.append((line, begin, data[first : min(end, first + _HIT_BYTES)].decode("utf-8", "replace")))
        count += 1
        at = lower.find(wanted, end)
    return found, count


async def _partial(engine: Engine, execution: str, task: str, query: LogRange, asked: re.Match[str]) -> Answer:
    """Answer a request for a range as HTTP has it (RFC 9110, 14)."""
    if asked["first"]:
        first = int(asked["first"])
        limit = max(0, int(asked["last"]) - first + 1) if asked["last"] else None
        found = await engine.output(execution, task, attempt=query.attempt, offset=first, limit=limit)
    else:
        found = await engine.output(execution, task, attempt=query.attempt, tail=int(asked["last"]))
    if not found.data:
        headers = {"Content-Range": f"bytes */{found.total}"}
        detail = f"{found.total} bytes were printed so far; nothing is kept from there on"
        return Answer(problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, detail, headers))
    total = found.total if found.finished else "*"
    span = f"bytes {found.offset}-{found.next_offset - 1}/{total}"
    return Answer(found.data, HTTPStatus.PARTIAL_CONTENT, {**_described(found), "Content-Range": span})


def _described(found: OutputSlice) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "Goflow-Attempt": str(found.attempt),
        "Goflow-Offset": str(found.offset),
        "Goflow-Next-Offset": str(found.next_offset),
        "Goflow-Total": str(found.total),
        "Goflow-Finished": str(found.finished).lower(),
    }


def _as_text(found: OutputSlice, *, is_tail: bool) -> shapes.Log:
    """Return a part as text. A character that the range cuts apart belongs to neither side's text if it can wait."""
    data, offset = found.data, found.offset
    if is_tail and offset:
        whole = data.lstrip(_CONTINUATIONS) if data[:4].strip(_CONTINUATIONS) else data
        offset += len(data) - len(whole)
        data = whole
    if found.next_offset < found.total or not found.finished:
        data = data[: len(data) - _cut_apart(data)] or data
    return shapes.Log(
        attempt=found.attempt,
        offset=offset,
        next_offset=offset + len(data),
        total=found.total,
        kept=[list(span) for span in found.kept],
        truncated=found.truncated,
        finished=found.finished,
        line=found.line,
        text=data.decode("utf-8", "replace"),
        marks=find_marks(found),
    )


def find_marks(found: OutputSlice) -> list[shapes.LogMark]:
    """Return where lines are of another stream or second than those before; a line is where its first byte is.

    Args:
        found: a part of an output, with its pieces.
    """
    marks: list[shapes.LogMark] = []
    line, last = found.line, None
    for piece in found.pieces:
        begin = piece.offset - found.offset
        end = begin + piece.size
        begins_line = not begin or found.data[begin - 1] == _NEWLINE
        what = piece.stream, piece.at.replace(microsecond=0)
        if what != last and (begins_line or found.data.find(_NEWLINE, begin, end - 1) >= 0):
            marks.append(shapes.LogMark(line + (not begins_line), wire.instant(piece.at), piece.stream))
            last = what
        line += found.data.count(_NEWLINE, begin, end)
    return marks[-_MARKS:]


_NEWLINE = 0x0A


_CONTINUATIONS = bytes(range(0x80, 0xC0))


def _cut_apart(data: bytes) -> int:
    """Return how many bytes at the end begin a character of UTF-8 that is not complete."""
    for size in range(1, min(4, len(data)) + 1):
        byte = data[-size]
        if byte < 0x80:  # noqa: PLR2004  # a character of its own
            return 0
        if byte >= 0xC0:  # noqa: PLR2004  # the first of several; how many, its leading ones say
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4  # noqa: PLR2004
            return size if size < length else 0
    return 0


class Decision(Struct, forbid_unknown_fields=True):
    """An answer to what a task asks."""

    approved: bool = True
    comment: Annotated[str, Meta(max_length=4000, description="kept in the record")] = ""


@routes.post("/api/executions/{execution}/tasks/{task}/approve", errors=[404, 409, 410])
async def approve(engine: Engine, caller: str, execution: str, task: str, body: Decision | None) -> shapes.Approval:
    """Answer what an approval task asks: yes or no. A 2xx means that the answer is durable."""
    decision = body or Decision()
    await engine.approve(execution, task, approved=decision.approved, by=caller, comment=decision.comment)
    return shapes.Approval(execution, task, decision.approved, caller)
