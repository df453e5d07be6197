"""Order and cycles of a graph of names: iterative, and a cycle that is reported is really there."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.errors import CycleError
from goflow_trio.jobs.graph import find_cycle, topological_order
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.task import Task
from tests.strategies import graphs

DEEP = 20_000


def chain(length):
    return {str(number): [str(number + 1)] for number in range(length - 1)} | {str(length - 1): []}


def can_reach(graph, start):
    """Return what is reachable over one edge or more, by growing the set until nothing is new."""
    found = set(graph[start])
    while True:
        more = found.union(*(graph[name] for name in found))
        if more == found:
            return found
        found = more


@given(graphs())
def test_a_cycle_is_found_if_and_only_if_a_task_can_reach_itself(graph):
    assert (find_cycle(graph) is not None) == any(name in can_reach(graph, name) for name in graph)


@given(graphs())
def test_a_found_cycle_is_a_path_of_real_edges_that_ends_where_it_began(graph):
    cycle = find_cycle(graph)
    if cycle is not None:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert all(after in graph[before] for before, after in itertools.pairwise(cycle))


@given(graphs())
def test_an_order_exists_if_and_only_if_there_is_no_cycle(graph):
    assert (topological_order(graph) is None) == (find_cycle(graph) is not None)


@given(graphs())
def test_an_order_has_every_task_once_and_after_its_upstreams(graph):
    order = topological_order(graph)
    if order is not None:
        assert sorted(order) == sorted(graph)
        place = {name: number for number, name in enumerate(order)}
        assert all(place[before] < place[after] for before in graph for after in graph[before])


@given(st.lists(st.text(), unique=True))
def test_without_edges_the_order_is_the_given_one(names):
    assert topological_order({name: [] for name in names}) == names


@pytest.mark.parametrize("graph", [{}, {"a": []}, {"a": ["b"], "b": []}])
def test_small_graphs_without_a_cycle(graph):
    assert find_cycle(graph) is None
    assert topological_order(graph) == list(graph)


def test_a_self_edge_is_a_cycle_of_one():
    assert find_cycle({"a": ["a"]}) == ["a", "a"]


def test_a_deep_chain_needs_no_recursion():
    graph = chain(DEEP)
    assert topological_order(graph) == list(graph)
    assert find_cycle(graph) is None


def test_a_deep_cycle_needs_no_recursion():
    graph = chain(DEEP)
    graph[str(DEEP - 1)] = ["0"]
    assert topological_order(graph) is None
    cycle = find_cycle(graph)
    assert cycle is not None
    assert len(cycle) == DEEP + 1


def test_a_job_that_is_one_deep_chain_is_validated():
    job = Job("deep")
    tasks = [job.add(Task(str(number), print)) for number in range(DEEP)]
    for before, after in itertools.pairwise(tasks):
        before >> after
    job.validate()
    tasks[-1] >> tasks[0]
    with pytest.raises(CycleError) as caught:
        job.validate()
    assert len(caught.value.path) == DEEP + 1
