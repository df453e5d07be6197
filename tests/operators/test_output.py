"""Whatever a command prints, a bounded part is kept and whole lines are passed on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.operators.output import LINE_CAP, Kept, Lines

chunks = st.lists(st.binary(max_size=40), max_size=20)


@given(chunks, st.integers(0, 30), st.integers(1, 30))
def test_first_and_last_bytes_are_kept_and_all_are_counted(parts, head, tail):
    kept = Kept(head, tail)
    for part in parts:
        kept.feed(part)
    whole = b"".join(parts)
    assert kept.total == len(whole)
    assert kept.dropped == max(0, len(whole) - head - tail)
    if not kept.dropped:
        assert kept.text() == whole.decode("utf-8", "replace")
    else:
        assert kept.text() == (
            whole[:head].decode("utf-8", "replace")
            + f"\n[... {kept.dropped:,} bytes dropped ...]\n"
            + whole[-tail:].decode("utf-8", "replace")
        )


@given(chunks)
def test_lines_pass_on_everything_however_it_is_cut(parts):
    seen = []
    lines = Lines(seen.append)
    for part in parts:
        lines.feed(part)
    lines.finish()
    text = b"".join(parts).decode("utf-8", "replace")
    assert "\n".join(seen) == text.removesuffix("\n") or "\n".join(seen) + "\n" == text


@given(st.text(max_size=200), st.integers(1, 5))
def test_characters_cut_by_a_read_are_whole_again(text, size):
    seen = []
    lines = Lines(seen.append)
    data = text.encode()
    for start in range(0, len(data), size):
        lines.feed(data[start : start + size])
    lines.finish()
    assert "\n".join(seen) == text.removesuffix("\n")


def test_lines_that_come_together_are_one_call():
    seen = []
    lines = Lines(seen.append)
    lines.feed(b"a\nb\nc")
    assert seen == ["a\nb"]
    lines.finish()
    assert seen == ["a\nb", "c"]


@pytest.mark.parametrize("size", [1000, 65536])
def test_an_endless_line_is_passed_on_in_pieces(size):
    seen = []
    lines = Lines(seen.append)
    for _ in range(1_000_000 // size):
        lines.feed(b"x" * size)
    lines.finish()
    assert max(map(len, seen)) < LINE_CAP + size
    assert sum(map(len, seen)) == 1_000_000 // size * size
