"""The log as it is read: segments in order, damage set aside, fences understood.

A *fence* is what an opener puts at the position that the engine before it would write next. Segments are written only
where nothing is, so from then on that engine can write no more, wherever it slept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from goflow_trio import codec
from goflow_trio.actors import keys
from goflow_trio.actors.damage import Damage
from goflow_trio.core import limits
from goflow_trio.core.messages import Event
from goflow_trio.errors import CodecError, StoreIncompatible


def fence(by: Any) -> bytes:
    """Return the bytes of a fence; `by` says who put it."""
    return codec.encode_mapping({"fence": by})


def is_fence(data: bytes) -> bool:
    """Return whether this ends an epoch."""
    try:
        return "fence" in codec.decode_mapping(data, "fence")
    except CodecError:
        return False


def decode_segments(segments: Iterable[tuple[str, bytes]], damage: Damage, after: int = 0) -> Iterator[list[Event]]:
    """Yield the events of each segment that can be read, in the order of the log.

    Args:
        segments: keys and bytes, in order.
        damage: takes what cannot be read, and what is missing.
        after: position of the last event before; 0 if that is not known.

    Raises:
        StoreIncompatible: a segment was written by a newer version.
    """
    expected = after + 1 if after else 0
    for key, data in segments:
        try:
            first = keys.segment_first(key)
            if expected and first > expected:
                damage.note(key + "?", f"events {expected} to {first - 1} are missing from the log, before {key}")
            events = [] if is_fence(data) else codec.decode_segment(data, first)
        except StoreIncompatible:
            raise
        except CodecError as error:
            damage.note(key, error)
            expected = 0  # how many events it had is not known
            continue
        expected = first + len(events)
        yield events


def next_position(seq: int, segments: Iterable[str], damage: Damage) -> int:
    """Return the position the next event can have: behind all segments, damaged ones too.

    Args:
        seq: of the last event that could be read.
        segments: keys of the segments behind it, if any.
        damage: names the damaged ones.
    """
    damaged = [key for key in segments if key in damage.records and key.rpartition("/")[2].isdecimal()]
    last_damaged = max(map(keys.segment_first, damaged), default=0)
    return seq + 1 if last_damaged <= seq else last_damaged + limits.SEGMENT_EVENTS
