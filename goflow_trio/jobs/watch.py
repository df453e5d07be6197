"""What a job waits for besides the clock: files. It only says which; `actors/watching.py` looks."""

from __future__ import annotations

from attrs import field, frozen

from goflow_trio.errors import DefinitionError

_SHORTEST = 0.2


@frozen
class FileWatch:
    """Runs a job for each file that matches, and again for each new version of it: `Job("load", watch=FileWatch(…))`.

    A version is a path with its time of change and its size. It counts once both have stood still from one look to the
    next, and each runs once, across restarts too; so move away or delete what was worked off. The execution has the
    parameter `path`.

    Args:
        pattern: path with `*`, `?`, `[…]` and `**`, such as `incoming/*.csv`; relative to where the server runs.
        every: seconds between two looks, 0.2 or more. Where a file stays out of sight of the system's notices, as on a
            network drive, looking still finds it.
    """

    pattern: str = field()
    every: float = field(default=1.0)

    def __attrs_post_init__(self) -> None:
        if not self.pattern:
            raise DefinitionError(f"a watch takes a path with wildcards such as 'incoming/*.csv', got {self.pattern!r}")
        if not self.every >= _SHORTEST:
            raise DefinitionError(f"watch {self.pattern!r}: looking every {self.every} s is too often; use 0.2 or more")
