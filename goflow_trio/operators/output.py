"""The part of what a command prints that becomes its result. No I/O, and nothing here can block.

A command may print 10 GB, or 100 MB without a newline, or bytes that are no text. Whatever it does, `Kept` holds at
most `head + 2 * tail` bytes. (What is kept as the *output* of an attempt is another, larger part: `core/output.py`.)
"""

from __future__ import annotations

from attrs import define, field


@define
class Kept:
    """The first and the last bytes of a stream, and the count of all.

    Args:
        head: how many bytes of the beginning to keep.
        tail: how many bytes of the end to keep.
    """

    head: int
    tail: int
    total: int = field(default=0, init=False)
    _first: bytearray = field(factory=bytearray, init=False, repr=False)
    _last: bytearray = field(factory=bytearray, init=False, repr=False)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self.total += len(data)
        room = self.head - len(self._first)
        if room > 0:
            self._first += data[:room]
            data = data[room:]
        self._last += data
        if len(self._last) > 2 * self.tail:  # not at every byte over: a cut copies the tail
            del self._last[: -self.tail]

    @property
    def dropped(self) -> int:
        """How many bytes of the middle are not kept."""
        return self.total - len(self._first) - min(len(self._last), self.tail)

    def text(self) -> str:
        """Give what is kept, as text; what is no UTF-8 becomes U+FFFD, what is missing is told where it was."""
        last = self._last[-self.tail :]
        if not self.dropped:
            return (self._first + last).decode("utf-8", "replace")
        first = self._first.decode("utf-8", "replace")
        return f"{first}\n[... {self.dropped:,} bytes dropped ...]\n{last.decode('utf-8', 'replace')}"
