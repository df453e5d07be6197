"""Keys as names of objects and files: plain ASCII, of limited length, in the same order. It opens nothing.

A key may hold any character and 1,024 bytes; a name may not: object stores and file systems refuse, normalise or fold
some characters, read `/` and `..` as paths, and end at 255 or 1,024 bytes.

**Characters.** a to z, digits and `-` stand for themselves, any other byte of the key's UTF-8 is a mark and two
hexadecimal digits. One mark would break the order, so there is one for each gap between the plain characters, and it
lies in that gap: names are in the order of keys. `log/0001` becomes `log.2f0001`.

**Length.** A name that would be too long is cut, and ends in `~~` and a digest of the whole key; the key itself is
then kept with the value. Cut names that begin alike are not in order. `Names.group` says what begins alike, and
whoever lists names sorts each group by its keys.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from attrs import frozen

_CUT: Final = "~~"
_DIGEST_BYTES: Final = 16
_ESCAPE: Final = re.compile(r"[!.=_~]([0-9a-f]{2})|([a-z0-9-])")


def _mark(byte: int) -> str:
    for mark in "!.=_~":
        # The gaps: below `-`; `.` and `/`; `:` to ^, with the capitals; `_` and the grave accent; above z.
        if byte <= {"!": 0x2C, ".": 0x2F, "=": 0x5E, "_": 0x60, "~": 0xFF}[mark]:
            return f"{mark}{byte:02x}"
    raise AssertionError(byte)


_TABLE: Final = tuple(chr(byte) if re.match(rb"[a-z0-9-]", bytes([byte])) else _mark(byte) for byte in range(256))


def encode(text: str) -> str:
    """Return text as a name, in full length.

    Example:
        >>> encode("log/0001"), encode("A b")
        ('log.2f0001', '=41!20b')
    """
    return "".join(_TABLE[byte] for byte in text.encode())


def decode(name: str) -> str | None:
    """Return the text that `encode` made this name of; None if it made no such name."""
    found = bytearray()
    at = 0
    while at < len(name):
        match = _ESCAPE.match(name, at)
        if match is None:
            return None
        found.append(int(match[1], 16) if match[1] else ord(match[2]))
        at = match.end()
    try:
        text = found.decode()
    except UnicodeDecodeError:
        return None
    return text if encode(text) == name else None


@frozen
class Names:
    """Names of at most `longest` characters.

    Args:
        longest: at least 100.
    """

    longest: int

    @property
    def _head(self) -> int:
        return self.longest - len(_CUT) - 2 * _DIGEST_BYTES

    def of(self, key: str) -> str:
        """Return the name of a key."""
        name = encode(key)
        if len(name) <= self._head:
            return name
        digest = hashlib.blake2b(key.encode(), digest_size=_DIGEST_BYTES).hexdigest()
        return name[: self._head] + _CUT + digest

    def is_cut(self, name: str) -> bool:
        """Return whether a name does not tell its key."""
        return len(name) > self._head

    def group(self, text: str) -> str:
        """Return what a name shares with all that may be out of order with it: a lower bound of their names.

        Args:
            text: a name of ours, or `encode` of any text.
        """
        return text[: self._head]


def wrap(key: str, value: bytes) -> bytes:
    """Return what is stored under a cut name: the key and the value."""
    data = key.encode()
    return len(data).to_bytes(2, "big") + data + value


def unwrap(data: bytes) -> tuple[str, bytes]:
    """Return the key and the value that `wrap` put together."""
    end = 2 + int.from_bytes(data[:2], "big")
    return data[2:end].decode(), data[end:]
