"""Bytes: what goes in comes out, and what was changed on the way is noticed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio import codec
from goflow_trio.core.messages import (
    EVENT_TYPES,
    ExecutionFinished,
    ExecutionSubmitted,
    TaskError,
    TaskFailed,
    TaskRetryScheduled,
    TaskStarted,
)
from goflow_trio.core.record import fold
from goflow_trio.core.states import State
from goflow_trio.errors import CodecError, StoreIncompatible

NOW = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)


def history():
    error = TaskError("ValueError", "böse", "Traceback …")
    events = [
        ExecutionSubmitted(NOW, "j", "x", 1, tasks=("a", "b"), params={"n": 1}, scheduled_for=NOW, definition="d"),
        TaskStarted(NOW, "j", "x", 2, "a", 1),
        TaskRetryScheduled(
            NOW, "j", "x", 3, "a", 1, error=error, reason="error", retry_at=NOW + timedelta(1), spared=True
        ),
        TaskStarted(NOW, "j", "x", 4, "a", 2),
        TaskFailed(NOW, "j", "x", 5, "a", 2, error=error, reason="timeout"),
        ExecutionFinished(NOW, "j", "x", 6, state=State.FAILED, reason="failed: a"),
    ]
    for seq, event in enumerate(events, start=10):
        event.seq = seq
    return events


def test_events_come_back_as_they_were_with_their_positions():
    ((first, data),) = codec.encode_segments(history())
    assert first == 10
    assert codec.decode_segment(data, 10) == history()
    assert [event.seq for event in codec.decode_segment(data, 10)] == list(range(10, 16))


@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=EVENT_TYPES)
def test_every_type_of_event_survives_with_its_defaults(kind):
    event = kind(NOW, "j", "x", 1)
    assert codec.unpack_event(codec.pack_event(event)) == event


def test_a_record_comes_back_as_it_was():
    record = fold(history())["x"]
    assert codec.decode_record(codec.encode_record(record)) == record


def test_every_changed_bit_and_every_cut_is_noticed():
    ((_, data),) = codec.encode_segments(history()[:2])
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(CodecError):
                codec.decode_segment(bytes(changed), 10)
        with pytest.raises(CodecError):
            codec.decode_segment(data[:place], 10)


def sealed_in_format(number, body, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(codec, "FORMAT_VERSION", number)
        return codec.seal(body)


def test_a_newer_format_is_refused_by_name(monkeypatch):
    data = sealed_in_format(9, {}, monkeypatch)
    with pytest.raises(StoreIncompatible, match="format 9; this goflow-trio reads formats up to 1: use a newer one"):
        codec.unseal(data, "record")


def test_an_older_format_is_brought_up_to_date_one_version_after_the_other(monkeypatch):
    """Two older formats: one called a task's name `task`, the one before that had its states in capitals."""
    monkeypatch.setattr(codec, "FORMAT_VERSION", 3)
    monkeypatch.setitem(codec.UPGRADES, 1, lambda kind, body: {k: v.lower() for k, v in body.items()})
    monkeypatch.setitem(codec.UPGRADES, 2, lambda kind, body: {"name": body["task"], "state": body["state"]})
    for number, body in ((1, {"task": "a", "state": "FAILED"}), (2, {"task": "a", "state": "failed"})):
        data = sealed_in_format(number, body, monkeypatch)
        assert codec.decode_mapping(data, "x") == {"name": "a", "state": "failed"}
    with pytest.raises(StoreIncompatible, match="format 0, which this goflow-trio no longer reads"):
        codec.unseal(sealed_in_format(0, {}, monkeypatch), "record")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_only_codec_errors(data):
    for decode in (codec.decode_record, codec.decode_shape, lambda d: codec.decode_segment(d, 1)):
        with pytest.raises(CodecError):
            decode(data)


text = st.text(st.characters(codec="utf-8"))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | text | st.binary()
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)


@given(plain)
def test_plain_values_are_stored_as_they_are(value):
    assert codec.storable(value) == value


class Hostile:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    "value",
    [2**70, "\ud800", {1, 2}, object(), Hostile(), {(1, 2): 3}, datetime(2026, 1, 1), lambda: 1],  # noqa: DTZ001
)
def test_what_cannot_be_stored_is_named_and_raises_nothing(value):
    stored = codec.storable(value)
    assert stored["$unstored"] == type(value).__name__
    assert stored["reason"]


def test_cycles_deep_nesting_and_large_values_too():
    cycle: list = []
    cycle.append(cycle)
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    for value in (cycle, deep, "x" * 70_000):
        assert codec.storable(value)["$unstored"] in {"list", "str"}


def test_a_flush_of_many_events_is_split():
    events = [TaskStarted(NOW, "j", "x", number, "t", 1) for number in range(1, 12_001)]
    for seq, event in enumerate(events, start=1):
        event.seq = seq
    segments = list(codec.encode_segments(events))
    assert [first for first, _ in segments] == [1, 5001, 10001]
    assert sum(len(codec.decode_segment(data, first)) for first, data in segments) == 12_000
