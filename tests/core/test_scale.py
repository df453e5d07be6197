"""Cost grows with the tasks and edges and with nothing else; depth costs no recursion.

Calls are counted, not timed: the count is the same on every machine. What counting cannot see is timed in seconds of
this process's CPU, with much room.
"""

import gc
import sys
import time

import pytest

from goflow_trio.core.machine import ExecutionMachine
from goflow_trio.core.messages import AttemptFailed, AttemptSucceeded, CancelRequested, RunAttempt
from goflow_trio.core.plan import plan_job
from goflow_trio.core.record import apply_event, fold, submitted_record
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.task import Task
from tests.core.driver import EPOCH, ERROR
from tests.strategies import work

WIDE = 100_000
DEEP = 20_000
SECONDS = 10.0


def fan(width):
    """Return `first >> width tasks >> last`."""
    job = Job("fan")
    first = job.add(Task("first", work))
    middle = [job.add(Task(f"m{number}", work)) for number in range(width)]
    first >> middle >> job.add(Task("last", work, trigger_rule="allDone"))
    return job


def chain(length):
    job = Job("chain")
    before = job.add(Task("0", work))
    for number in range(1, length):
        before = before >> job.add(Task(str(number), work))
    return job


def run(job, outcome=AttemptSucceeded):
    """Validate, plan and run a job whose attempts all end in `outcome`; return the machine and its record."""
    job.validate()
    machine = ExecutionMachine(plan_job(job), "e1")
    submit = machine.submit(EPOCH)
    record = submitted_record(submit.events[0])
    steps = [machine.start(EPOCH)]
    while steps:
        step = steps.pop()
        for event in step.events:
            apply_event(record, event)
        told = [order for order in step.instructions if isinstance(order, RunAttempt)]
        if told:
            steps.append(machine.receive_all([outcome(order.task, order.attempt) for order in told], EPOCH))
    assert machine.finished
    return machine, record


def failed(task, attempt):
    return AttemptFailed(task, attempt, ERROR)


def calls(function, *args):
    """Return how many calls of Python and C functions `function` makes."""
    count = 0

    def profile(_frame, event, _arg):
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function(*args)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("shape", [fan, chain])
@pytest.mark.parametrize("outcome", [AttemptSucceeded, failed])
def test_calls_per_task_do_not_grow_with_the_graph(shape, outcome):
    small, large = shape(500), shape(2000)
    per_task = [calls(run, job, outcome) / len(job) for job in (small, large)]
    assert per_task[1] <= 1.1 * per_task[0]


def test_one_report_costs_the_same_in_a_large_graph():
    def cost(width):
        job = fan(width)
        machine = ExecutionMachine(plan_job(job), "e1")
        machine.submit(EPOCH)
        machine.start(EPOCH)
        machine.receive(AttemptSucceeded("first", 1), EPOCH)
        return calls(machine.receive, AttemptSucceeded("m0", 1), EPOCH)

    # With more tasks than slots the report also starts the next one: compare what does the same.
    assert cost(2000) == pytest.approx(cost(8000), abs=6)


def test_a_hundred_thousand_tasks_fan_out_and_in_within_seconds():
    job = fan(WIDE)
    began = time.process_time()
    machine, record = run(job)
    assert time.process_time() - began < SECONDS
    assert (record.state, machine.version) == ("successful", 1 + 1 + 2 * (WIDE + 2) + 1)


def test_time_per_task_stays_level_at_four_times_the_size():
    def per_task(width):
        job = fan(width)
        times = []
        for _ in range(3):
            gc.collect()
            began = time.process_time()
            run(job)
            times.append((time.process_time() - began) / width)
        return sorted(times)[1]

    assert per_task(6_000) <= 3 * per_task(1_500)


@pytest.mark.parametrize(("outcome", "state"), [(AttemptSucceeded, "successful"), (failed, "skipped")])
def test_a_deep_chain_runs_or_is_skipped_without_recursion(outcome, state):
    _, record = run(chain(DEEP), outcome)
    assert record.tasks[str(DEEP - 1)].state == state
    assert sum(task.state == "skipped" for task in record.tasks.values()) == (DEEP - 1 if state == "skipped" else 0)


def test_a_large_execution_is_cancelled_and_restored_without_recursion():
    plan = plan_job(chain(DEEP))
    machine = ExecutionMachine(plan, "e1")
    events = [*machine.submit(EPOCH).events, *machine.start(EPOCH).events]
    restored, step = ExecutionMachine.restore(plan, fold(events)["e1"], EPOCH)
    assert (restored.state, len(step.events)) == ("failed", DEEP + 1)
    machine.receive(CancelRequested("enough", force=True), EPOCH)
    assert machine.task_state(str(DEEP - 1)) == "cancelled"
