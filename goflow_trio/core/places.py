"""Where each task of an execution has its place: first the tasks of its plan, then the items of its maps as they come.

The machine keeps what it knows of tasks by place. An item has no rule and no place in the graph of its own: it works as
its map does, and counts where that counts.
"""

from __future__ import annotations

from collections import deque

from attrs import Factory, define

from goflow_trio.core.plan import Plan
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
        tasks: what is planned at each place.
        count: how many tasks the plan has: the first place of an item.
        groups: the items of each map whose items are known, by the map's place.
    """

    def __init__(self, plan: Plan) -> None:
        self.tasks = list(plan.tasks)
        self.count = len(plan.tasks)
        self.groups: dict[int, Group] = {}
        self._by_name = plan.index
        self._items: list[tuple[str, int]] = []  # the name of each item, and the place of its map
        self._items_by_name: dict[str, int] = {}

    def find(self, name: str) -> int:
        """Return the place of a task or item."""
        place = self._by_name.get(name)
        return self._items_by_name[name] if place is None else place

    def name(self, place: int) -> str:
        """Return the name of what is there."""
        return self.tasks[place].name if place < self.count else self._items[place - self.count][0]

    def map_of(self, item: int) -> int:
        """Return the place of the map that an item belongs to."""
        return self._items[item - self.count][1]

    def items_of(self, mapped: int) -> list[int]:
        """Return the places of a map's items, in order."""
        return [place for place, (_, owner) in enumerate(self._items, self.count) if owner == mapped]

    def add_items(self, mapped: int, size: int) -> range:
        """Give the items of a map their places, behind all others, and return these."""
        task = self.tasks[mapped]
        assert task.item is not None
        first = len(self.tasks)
        for number in range(size):
            name = item_name(task.name, number)
            self._items.append((name, mapped))
            self._items_by_name[name] = first + number
        self.tasks += [task.item] * size
        self.groups[mapped] = Group(Tally(size), task.max_items)
        return range(first, first + size)
