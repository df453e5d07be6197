"""Questions about a graph of names: its order, and its cycle if it has one. Iterative, O(nodes + edges)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence


def topological_order(graph: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Return the names so that each comes after its upstreams, else in the order given; None if there is a cycle.

    Args:
        graph: downstream names by name; every name is a key.
    """
    waiting_for = dict.fromkeys(graph, 0)
    for downstream in graph.values():
        for name in downstream:
            waiting_for[name] += 1
    ready = deque(name for name, count in waiting_for.items() if not count)
    order = []
    while ready:
        name = ready.popleft()
        order.append(name)
        for after in graph[name]:
            waiting_for[after] -= 1
            if not waiting_for[after]:
                ready.append(after)
    return order if len(order) == len(graph) else None


def find_cycle(graph: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Return one cycle as a path whose first name is repeated at the end, or None.

    Depth-first search with a stack of its own: a chain of 20,000 tasks must not meet Python's recursion limit.
    """
    finished: set[str] = set()
    for start in graph:
        if start in finished:
            continue
        path = [start]
        on_path = {start}
        remaining = [iter(graph[start])]
        while path:
            name = next(remaining[-1], None)
            if name is None:
                remaining.pop()
                done = path.pop()
                on_path.discard(done)
                finished.add(done)
            elif name in on_path:
                return [*path[path.index(name) :], name]
            elif name not in finished:
                path.append(name)
                on_path.add(name)
                remaining.append(iter(graph[name]))
    return None
