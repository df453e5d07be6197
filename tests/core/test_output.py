"""Whatever is written, the first and the last part are kept, all is counted, and every byte keeps its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.core import limits
from goflow_trio.core.output import STREAMS, KeptOutput, OutputSlice, line_at, locate
from goflow_trio.errors import UsageError

writes = st.lists(
    st.tuples(st.integers(0, 120), st.integers(0, 3), st.integers(0, 50)),  # size, stream, milliseconds later
    max_size=40,
)


@pytest.fixture
def _small(monkeypatch):
    for name, value in [
        ("HEAD_BYTES", 64),
        ("TAIL_BYTES", 64),
        ("BLOCK_BYTES", 16),
        ("BLOCK_PIECES", 4),
        ("BLOCKS", 8),
    ]:
        monkeypatch.setattr(limits, f"OUTPUT_{name}", value)


def fill(script):
    """Write numbered bytes; return what keeps them, all bytes, and the stream of each."""
    kept, whole, streams, at = KeptOutput(), bytearray(), [], 0
    for size, stream, later in script:
        at += later
        data = bytes((len(whole) + n) % 251 for n in range(size))
        kept.write(data, stream, at)
        whole += data
        streams += [STREAMS[stream]] * size
    return kept, bytes(whole), streams


def read(kept, begin, end):
    blocks = kept.touched(begin, end)
    data = b"".join(block.data[max(0, begin - block.start) : end - block.start] for block in blocks)
    return data, [piece for block in blocks for piece in block.pieces(begin, end)]


@pytest.mark.usefixtures("_small")
@given(writes)
def test_what_is_kept_is_in_its_place_and_of_its_stream(script):
    kept, whole, streams = fill(script)
    assert kept.total == len(whole)
    for begin, end in kept.ranges():
        data, pieces = read(kept, begin, end)
        assert data == whole[begin:end]
        assert [piece.offset for piece in pieces] == [begin, *(p.offset + p.size for p in pieces[:-1])]
        assert [p.stream for p in pieces for _ in range(p.size)] == streams[begin:end]


@pytest.mark.usefixtures("_small")
@given(writes)
def test_first_and_last_part_are_kept_and_memory_is_bounded(script):
    kept, whole, _ = fill(script)
    ranges = kept.ranges()
    assert kept.memory <= 64 + 64 + 16
    assert sum(len(block.marks) for block in kept.blocks) <= 2 * 8 * 4
    assert len(ranges) <= 2
    if whole and all(len(block.marks) < 4 for block in kept.blocks):  # no block was closed early
        assert ranges[0][0] == 0
        assert ranges[0][1] >= min(len(whole), 64)
        assert ranges[-1][0] <= max(0, len(whole) - 64)
        assert ranges[-1][1] == len(whole)


@pytest.mark.usefixtures("_small")
@given(writes)
def test_lines_are_numbered_among_those_that_are_kept(script):
    kept, whole, _ = fill([(size, stream, later) for size, stream, later in script])
    kept = KeptOutput()
    for place in range(0, len(whole), 7):
        kept.write(bytes(10 if byte % 5 == 0 else 65 for byte in whole[place : place + 7]), 0, place * 100)
    ends = 0
    for begin, end in kept.ranges():
        data, _ = read(kept, begin, end)
        for at in range(begin, end + 1):
            assert line_at(kept.blocks, at) == 1 + ends + data[: at - begin].count(b"\n")
        ends += data.count(b"\n")


@pytest.mark.usefixtures("_small")
@given(writes)
def test_dropped_blocks_that_the_store_has_are_told_once(script):
    kept = KeptOutput()
    stored = set()
    for size, stream, _ in script:
        kept.write(b"x" * size, stream, 0)
        for block in kept.blocks:
            block.stored = True
            stored.add(block.number)
    assert set(kept.dropped) == stored - {block.number for block in kept.blocks}
    assert len(kept.dropped) == len(set(kept.dropped))


@given(
    st.lists(st.integers(1, 50), min_size=0, max_size=4),
    st.integers(0, 200),
    st.none() | st.integers(0, 60),
    st.none() | st.integers(0, 60),
)
def test_a_reader_gets_one_piece_without_a_gap_and_reaches_the_end(cuts, offset, limit, tail):
    edges = [sum(cuts[: n + 1]) for n in range(len(cuts))]
    ranges = [(edges[n] - 1, edges[n + 1]) if n else (0, edges[0]) for n in range(0, len(edges) - 1, 2)]
    total = ranges[-1][1] if ranges else 0
    begin, end = locate(ranges, total, offset, limit, tail)
    assert begin <= end <= total
    assert begin == end or any(low <= begin and end <= high for low, high in ranges)
    assert limit is None or end - begin <= limit
    place, seen = 0, 0
    while (part := locate(ranges, total, place, 7, None)) and part[0] < part[1]:
        seen += part[1] - part[0]
        place = part[1]
    assert seen == sum(high - low for low, high in ranges)


def test_numbers_below_zero_are_refused():
    with pytest.raises(UsageError, match="tail must be 0 or more, got -1"):
        locate([], 0, 0, None, -1)


def test_a_slice_tells_whether_something_is_gone():
    assert not OutputSlice(1, 0, 5, ((0, 5),), finished=True, data=b"hello").truncated
    part = OutputSlice(1, 8, 10, ((0, 2), (8, 10)), finished=True, data=b"lo")
    assert part.truncated
    assert part.next_offset == 10
