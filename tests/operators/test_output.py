"""Whatever a command prints, a bounded part is its result."""

from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.operators.output import Kept

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
