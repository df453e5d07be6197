"""What the properties of this suite are made of: graphs, jobs, and tapes of choices that a driver follows."""

from attrs import evolve, field, frozen
from hypothesis import strategies as st

from goflow_trio.jobs.job import Job
from goflow_trio.jobs.retry import ConstantDelay
from goflow_trio.jobs.task import Task
from goflow_trio.jobs.trigger_rules import TriggerRule
from goflow_trio.operators.flow import Branch, Sleep

MOST_TASKS = 12


def work():
    """Stand for the work of a task; the tests here decide outcomes themselves and never call it."""


@frozen
class TaskSpec:
    """One task of a generated job, as plain data that a reference can read without our classes.

    Args:
        name: its name; names sort in the order of declaration.
        upstream: names of the tasks directly before it.
        rule: wire name of its trigger rule.
        retries: attempts after the first.
        idempotent: whether a cut attempt just runs again.
        priority: among ready tasks, higher first.
        failures: its first so many attempts fail, as far as they come to an end.
        chooses: it is a branch, and these of its downstreams are to run; None if it is none.
        waits: whether it only waits, holding no slot.
        skips: whether an attempt that would be successful finds that there is nothing to do.
    """

    name: str
    upstream: tuple[str, ...] = ()
    rule: str = "allSuccessful"
    retries: int = 0
    idempotent: bool = False
    priority: int = 0
    failures: int = 0
    chooses: tuple[str, ...] | None = None
    waits: bool = False
    skips: bool = False


@frozen
class JobSpec:
    """A generated job. `declared` is the order its tasks are added in, which need not be an order of the graph."""

    tasks: dict[str, TaskSpec]
    declared: tuple[str, ...] = field()
    max_active: int = 1000

    @declared.default
    def _as_given(self):
        return tuple(self.tasks)


def spec_of(*tasks, max_active=1000):
    """Return a spec written by hand."""
    return JobSpec({task.name: task for task in tasks}, max_active=max_active)


def operator_of(task):
    if task.chooses is not None:
        return Branch(work)
    return Sleep(5) if task.waits else work


def job_of(spec):
    """Return the job that a spec describes."""
    job = Job("job", max_active_tasks=spec.max_active)
    for name in spec.declared:
        task = spec.tasks[name]
        job.add(
            Task(
                name,
                operator_of(task),
                retries=task.retries,
                retry_delay=ConstantDelay(10),
                trigger_rule=task.rule,
                idempotent=task.idempotent,
                priority=task.priority,
            )
        )
    for name in spec.declared:
        for before in spec.tasks[name].upstream:
            job.set_downstream(before, name)
    job.validate()
    return job


@st.composite
def graphs(draw, most=10):
    """Draw any directed graph of a few names: cycles, self edges and repeated edges included."""
    names = [f"n{number}" for number in range(draw(st.integers(0, most)))]
    if not names:
        return {}
    edges = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=2 * most))
    graph = {name: [] for name in names}
    for before, after in edges:
        graph[before].append(after)
    return graph


@st.composite
def jobs(draw):
    """Draw an acyclic job with rules, retries, outcomes and bounds; declared in any order."""
    names = [f"t{number:02}" for number in range(draw(st.integers(0, MOST_TASKS)))]
    # Half of the rules are the common two, so that graphs get deep before something odd cuts them.
    rules = st.one_of(
        st.sampled_from(["allSuccessful", "allDone"]), st.sampled_from([rule.value for rule in TriggerRule])
    )
    tasks = {}
    for place, name in enumerate(names):
        upstream = draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=3)) if place else []
        tasks[name] = TaskSpec(
            name,
            upstream=tuple(upstream),
            rule=draw(rules),
            retries=draw(st.integers(0, 2)),
            idempotent=draw(st.booleans()),
            priority=draw(st.integers(0, 2)),
            failures=draw(st.sampled_from([0, 0, 0, 1, 2, 9])),
            waits=draw(st.sampled_from([False, False, False, True])),
            skips=draw(st.sampled_from([False] * 7 + [True])),
        )
    for name, task in tasks.items():
        downstream = [other.name for other in tasks.values() if name in other.upstream]
        if not task.waits and draw(st.sampled_from([False, False, True])):
            chooses = draw(st.lists(st.sampled_from(downstream), unique=True)) if downstream else []
            tasks[name] = evolve(task, chooses=tuple(chooses))
    declared = tuple(draw(st.permutations(names)))
    return JobSpec(tasks, declared, draw(st.sampled_from([1, 2, 3, 1000])))


def tapes(largest=2**16):
    """Draw a tape of choices: a driver takes one after the other, each modulo what there is to choose from."""
    return st.lists(st.integers(0, largest), min_size=1, max_size=60)


class Tape:
    """Reads a tape of choices round and round; the same tape makes the same choices."""

    def __init__(self, choices):
        self._choices = choices
        self._next = 0

    def below(self, count):
        """Return the next choice of `count`, from 0."""
        choice = self._choices[self._next % len(self._choices)] + self._next // len(self._choices)
        self._next += 1
        return choice % count

    def pick(self, things):
        """Return one of `things`."""
        return things[self.below(len(things))]
