"""Where each task of an execution has its place: first the tasks of its plan, then the items of its maps as they come.

The machine keeps what it knows of tasks by place. An item has no rule and no place in the graph of its own: it works as
its map does, and counts where that counts.
"""

from __future__ import annotations

from collections import deque

from attrs import Factory, define

from goflow_trio.core.plan import Plan, PlannedTask
from goflow_trio.core.record import item_name
from goflow_trio.jobs.trigger_rules import Tally


@define
class Group:
    """The items of a map, together.

    Args:
        tally: how they ended.
        limit: how many run at once; None is no bound.
        taken: the places of those that run, or may; only kept where there is a bound.
        waiting: those that are ready and wait until another one ends.
    """

    tally: Tally
    limit: int | None
    taken: set[int] = Factory(set)
    waiting: deque[int] = Factory(deque)

    @property
    def left(self) -> int:
        """How many have not ended."""
        return self.tally.total - self.tally.done

    def admits(self, place: int) -> bool:
        """Whether an item that is ready may run as far as its map is concerned; if not, it waits here."""
        if self.limit is None:
            return True
        if len(self.taken) >= self.limit:
            self.waiting.append(place)
            return False
        self.taken.add(place)
        return True

    def leave(self, place: int, is_ready: bytearray) -> int | None:
        """Note that an item does not run any more; return the one that may run in its stead."""
        if place not in self.taken:
            return None
        self.taken.remove(place)
        while self.waiting:
            following = self.waiting.popleft()
            if is_ready[following]:  # else it was cancelled while it waited
                self.taken.add(following)
                return following
        return None


class Places:
    """The places of one execution's tasks.

    Args:
        plan: the graph it runs on.

    Attributes:
        groups: the items of each map whose items are known, by the map's place.
    """

    def __init__(self, plan: Plan) -> None:
        self.groups: dict[int, Group] = {}
        self._planned = plan.tasks
        self._index = plan.index
        self._items: list[tuple[int, int]] = []  # the place of its map, and its number, of each item
        self._by_name: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._planned) + len(self._items)

    def find(self, name: str) -> int:
        """Return the place of a task or item."""
        place = self._index.get(name)
        return self._by_name[name] if place is None else place

    def task(self, place: int) -> PlannedTask:
        """Return the task that is planned there; for an item, its map."""
        planned = self._planned
        return planned[place] if place < len(planned) else planned[self._items[place - len(planned)][0]]

    def name(self, place: int) -> str:
        """Return the name of what is there."""
        planned = self._planned
        if place < len(planned):
            return planned[place].name
        mapped, number = self._items[place - len(planned)]
        return item_name(planned[mapped].name, number)

    def map_of(self, place: int) -> int | None:
        """Return the place of the map that an item belongs to; None if there is no item."""
        count = len(self._planned)
        return None if place < count else self._items[place - count][0]

    def group_of(self, place: int) -> Group | None:
        """Return the group that an item belongs to; None if there is no item."""
        mapped = self.map_of(place)
        return None if mapped is None else self.groups[mapped]

    def items_of(self, mapped: int) -> list[int]:
        """Return the places of a map's items, in order."""
        count = len(self._planned)
        return [count + number for number, (owner, _) in enumerate(self._items) if owner == mapped]

    def add_items(self, mapped: int, size: int) -> range:
        """Give the items of a map their places, behind all others, and return these."""
        first = len(self)
        name = self._planned[mapped].name
        for number in range(size):
            self._items.append((mapped, number))
            self._by_name[item_name(name, number)] = first + number
        self.groups[mapped] = Group(Tally(size), self._planned[mapped].max_items)
        return range(first, first + size)
