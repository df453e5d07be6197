"""A map: one task for each item of a list that is known at run time, counted downstream in its place."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.codec import decode_record, encode_record
from goflow_trio.core.machine import ExecutionMachine
from goflow_trio.core.messages import AttemptExpanded, RunAttempt, WaitForRetry
from goflow_trio.core.rerun import tasks_to_rerun
from goflow_trio.errors import DefinitionError, WrongState
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.retry import ConstantDelay
from goflow_trio.jobs.task import Task
from goflow_trio.operators.flow import Branch, Sleep
from tests.core.driver import Driver
from tests.core.naive import RULES, final_states
from tests.core.test_properties import end_well, thorough
from tests.strategies import JobSpec, Tape, jobs, operator_of, tapes, work


def mapped(*, rule="allDone", max_active_tasks=None, operator=work, **options):
    """Return the driver of `list >> each >> join`, where each is mapped over the result of list."""
    job = Job("job", max_active_tasks=max_active_tasks)
    first = job.add(Task("list", work, idempotent=True))
    each = job.map("each", operator, over=first, **options)
    each >> job.add(Task("join", work, trigger_rule=rule, idempotent=True))
    driver = Driver(job)
    driver.start()
    driver.succeed("list")
    return driver


def test_each_item_is_a_task_of_its_own_and_the_results_come_in_order():
    driver = mapped()
    assert driver.live == {"each": 1}
    step = driver.expand("each", ["a", "b", "c"])
    assert step.instructions == [RunAttempt(f"each[{number}]", 1) for number in range(3)]
    assert [driver.record.tasks[f"each[{number}]"].item for number in range(3)] == ["a", "b", "c"]
    for name in ("each[2]", "each[0]", "each[1]"):
        driver.succeed(name, result=name.upper())
    assert driver.states["each"] == "successful"
    assert driver.record.tasks["each"].result == ["EACH[0]", "EACH[1]", "EACH[2]"]
    driver.succeed("join")
    assert driver.state == "successful"
    assert driver.record.results == {"list": None, "each": ["EACH[0]", "EACH[1]", "EACH[2]"], "join": None}


def test_an_empty_list_skips_the_map_and_what_follows_by_rule():
    driver = mapped(rule="allSuccessful")
    driver.expand("each", [])
    assert driver.states == {"list": "successful", "each": "skipped", "join": "skipped"}
    assert driver.record.tasks["each"].reason == "there is nothing to map it over"
    assert driver.state == "successful"


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("ends", ["sss", "sfs", "fff", "skk", "kkk", "fks"])
def test_every_rule_downstream_counts_the_items(rule, ends):
    driver = mapped(rule=rule)
    driver.expand("each", [1, 2, 3])
    states = {"s": "successful", "f": "failed", "k": "skipped"}
    seen = [""] * 3
    for number, end in enumerate(ends):
        {"s": driver.succeed, "f": driver.fail, "k": driver.skip}[end](f"each[{number}]")
        seen[number] = states[end]
        expected = RULES[rule](seen)
        state = driver.states["join"]
        assert (
            (state != "skipped")
            if expected == "run"
            else (state == {"wait": "notstarted", "skip": "skipped"}[expected])
        )
    assert driver.states["each"] == ("failed" if "f" in ends else "successful" if "s" in ends else "skipped")


def test_items_retry_by_themselves_and_a_failed_one_fails_the_map():
    driver = mapped(retries=1, retry_delay=ConstantDelay(7))
    driver.expand("each", [1, 2])
    step = driver.fail("each[0]")
    assert step.instructions == [WaitForRetry("each[0]", 1, 7)]
    driver.succeed("each[1]", result="good")
    driver.retry_due("each[0]")
    driver.fail("each[0]")
    each = driver.record.tasks["each"]
    assert (each.state, each.reason, each.error.message) == ("failed", "items failed", "1 of 2 items failed")
    assert each.result == [None, "good"]
    driver.succeed("join")
    assert driver.record.reason == "failed: each[0]"


def test_a_bound_on_the_items_holds_and_loses_no_place():
    driver = mapped(max_active=2, retries=1)
    driver.expand("each", range(6))
    assert sorted(driver.live) == ["each[0]", "each[1]"]
    driver.fail("each[0]")
    assert sorted(driver.live) == ["each[1]", "each[2]"], "one that waits for its retry leaves its place"
    driver.retry_due("each[0]")
    for number in (1, 2, 3, 4, 5, 0):
        assert len([name for name in driver.live if name.startswith("each")]) == min(
            2, 6 - [1, 2, 3, 4, 5, 0].index(number)
        )
        driver.succeed(f"each[{number}]")
    assert driver.states["each"] == "successful"


def test_items_that_wait_hold_no_slot():
    driver = mapped(operator=Sleep(5), max_active_tasks=1)
    driver.expand("each", range(3))
    assert len(driver.live) == 3
    driver.crash()
    assert len(driver.live) == 3, "they go on as the same attempts"
    assert driver.record.tasks["each[0]"].attempt == 1


def test_a_crash_while_the_items_are_asked_for_just_asks_again():
    driver = mapped()
    driver.crash()
    driver.retry_due("each")
    driver.expand("each", [1])
    driver.succeed("each[0]")
    driver.succeed("join")
    assert driver.state == "successful"


def test_a_crash_in_the_middle_keeps_the_items_and_what_has_ended():
    driver = mapped(idempotent=True)
    driver.expand("each", ["a", "b", "c"])
    driver.succeed("each[1]", result="kept")
    driver.crash()
    assert sorted(driver.waiting) == ["each[0]", "each[2]"]
    for name in ("each[0]", "each[2]"):
        driver.retry_due(name)
        driver.succeed(name)
    assert driver.record.tasks["each"].result == [None, "kept", None]


def test_a_cancel_ends_the_items_and_with_them_the_map():
    driver = mapped(rule="allSuccessful", max_active=1)
    driver.expand("each", range(3))
    driver.cancel()
    assert driver.states["each[1]"] == "cancelled"
    driver.acknowledge_cancel("each[0]")
    assert (driver.states["each"], driver.states["join"], driver.state) == ("cancelled", "cancelled", "cancelled")


def test_only_failed_items_run_again_and_then_what_comes_after():
    driver = mapped(rule="allSuccessful")
    driver.expand("each", range(3))
    for number, end in enumerate((driver.succeed, driver.fail, driver.succeed)):
        end(f"each[{number}]")
    assert driver.state == "failed"
    assert tasks_to_rerun(driver.plan, driver.record) == ("join", "each[1]")
    driver.reopen()
    assert (driver.states["each"], driver.states["each[0]"]) == ("running", "successful")
    driver.crash()
    driver.start()
    assert driver.live == {"each[1]": 2}
    driver.succeed("each[1]", result="now")
    driver.succeed("join")
    assert driver.state == "successful"
    assert driver.record.tasks["each"].result == [None, "now", None]


def test_a_map_that_begins_anew_may_have_other_items_and_keeps_old_attempts():
    driver = mapped(rule="allSuccessful")
    driver.expand("each", range(3))
    for number in range(3):
        driver.fail(f"each[{number}]")
    driver.reopen(start="start")
    assert {driver.states[f"each[{number}]"] for number in range(3)} == {"skipped"}
    driver.start()
    driver.succeed("list")
    driver.crash()
    driver.retry_due("each")
    driver.expand("each", ["x", "y"])
    assert driver.live == {"each[0]": 2, "each[1]": 2}
    driver.succeed("each[0]")
    driver.succeed("each[1]")
    driver.succeed("join")
    assert driver.state == "successful"
    assert len(driver.record.tasks["each[0]"].attempts) == 2
    with pytest.raises(WrongState, match=r"'each\[2\]' is no longer an item of 'each'"):
        tasks_to_rerun(driver.plan, driver.record, task="each[2]")
    assert tasks_to_rerun(driver.plan, driver.record, task="each[0]", downstream=False) == ("each[0]",)


def test_a_snapshot_of_a_map_reads_as_it_was():
    driver = mapped()
    driver.expand("each", [{"a": 1}, [2]])
    driver.succeed("each[0]", result="one")
    assert decode_record(encode_record(driver.record)) == driver.record
    driver.succeed("each[1]", result="two")
    assert decode_record(encode_record(driver.record)) == driver.record


def test_the_machine_costs_the_same_for_each_item_of_a_large_map():
    job = Job("job")
    each = job.map("each", work, over=list)
    each >> job.add(Task("join", work, trigger_rule="allDone"))
    driver = Driver(job, checked=False)
    driver.start()
    driver.expand("each", range(10_000))
    for number in range(10_000):
        driver.machine.receive(type(driver).success(f"each[{number}]", 1), driver.now)
    assert driver.machine.task_state("each") == "successful"


def test_wrong_maps_are_refused_with_the_mend():
    job = Job("job")
    with pytest.raises(DefinitionError, match="over takes a task of the job, a function or a list, got 7"):
        job.map("each", work, over=7)
    with pytest.raises(DefinitionError, match="a Branch cannot be mapped"):
        job.map("each", Branch(work), over=work)
    with pytest.raises(DefinitionError, match="has no task 'list'"):
        job.map("each", work, over="list")
    with pytest.raises(DefinitionError, match="max_active must be a whole number"):
        job.map("each", work, over=work, max_active=0)
    job.map("each", work, over=work)
    job.add(Task("each[0]", work))
    with pytest.raises(DefinitionError, match=r"'each\[0\]' is named as an item of the map 'each'"):
        job.validate()


OUTCOMES = ["succeed", "fail", "skip"]


@given(
    st.lists(st.sampled_from(OUTCOMES), max_size=6),
    st.sampled_from(sorted(RULES)),
    st.sampled_from([None, 1, 2]),
    st.integers(0, 2),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 12)),
    tapes(),
)
@thorough
def test_a_map_at_random_with_crashes_and_a_cancel(  # noqa: PLR0917
    ends, rule, max_active, retries, crashing, cancel_at, tape
):
    """Rule: with no cancel, items and join end as the outcomes say, whatever the order and the crashes."""
    tape = Tape(tape)
    driver = mapped(rule=rule, max_active=max_active, retries=retries, idempotent=True)
    turns = crashes = 0
    while not driver.machine.finished:
        if turns == cancel_at:
            driver.cancel()
        elif crashing and crashes < 3 and not tape.below(4):
            crashes += 1
            driver.crash(lost=tape.below(len(driver.step.events) + 1))
        else:
            name = tape.pick(driver.pending())
            if name in driver.waiting:
                driver.retry_due(name)
            elif name in driver.to_cancel:
                driver.acknowledge_cancel(name)
            elif name == "each":
                driver.expand(name, range(len(ends)))
            elif name in {"join", "list"}:
                driver.succeed(name)
            else:
                getattr(driver, ends[int(name[5:-1])])(name)
        if max_active is not None:
            assert len([name for name in driver.live if "[" in name]) <= max_active
        turns += 1
    if driver.record.ending is None:
        items = [str(driver.record.tasks[f"each[{number}]"].state) for number in range(len(ends))]
        words = {"succeed": "successful", "fail": "failed", "skip": "skipped"}
        assert items == [words[end] for end in ends]
        expected = RULES[rule](items or ["skipped"])
        assert driver.states["join"] == {"run": "successful", "skip": "skipped"}[expected]
        assert driver.state == ("failed" if "failed" in items else "successful")
    machine, step = ExecutionMachine.restore(driver.plan, driver.record, driver.tick())
    assert (machine.finished, step.events) == (True, [])


def test_a_stale_expansion_changes_nothing():
    driver = mapped()
    driver.expand("each", [1])
    step = driver.report(AttemptExpanded("each", 1, (1, 2)))
    assert (step.events, step.instructions) == ([], [])


def with_maps(spec, sizes):
    """Return the job of a spec in which the tasks named in `sizes` are maps."""
    job = Job("job", max_active_tasks=spec.max_active)
    for name in spec.declared:
        task = spec.tasks[name]
        options = {
            "retries": task.retries,
            "retry_delay": ConstantDelay(10),
            "trigger_rule": task.rule,
            "idempotent": task.idempotent,
            "priority": task.priority,
        }
        if name in sizes:
            job.map(name, operator_of(task), over=work, **options)
        else:
            job.add(Task(name, operator_of(task), **options))
    for name in spec.declared:
        for before in spec.tasks[name].upstream:
            job.set_downstream(before, name)
    return job


def flattened(spec, sizes):
    """Return a spec without maps that must end in the same way: each item in the place of its map."""

    def names(task):
        return [f"{task}[{number}]" for number in range(sizes[task])] if sizes.get(task) else [task]

    tasks = {}
    for name, task in spec.tasks.items():
        upstream = tuple(each for before in task.upstream for each in names(before))
        chooses = None if task.chooses is None else tuple(each for after in task.chooses for each in names(after))
        for each in names(name):
            tasks[each] = evolve(task, name=each, upstream=upstream, chooses=chooses)
        if sizes.get(name) == 0:  # it begins, finds nothing, and is skipped
            tasks[name] = evolve(tasks[name], skips=True, failures=0, idempotent=True)
    return JobSpec(tasks, max_active=spec.max_active)


@given(jobs(), st.lists(st.integers(-1, 3), min_size=12, max_size=12), tapes(), st.booleans())
@thorough
def test_maps_in_any_graph_end_as_their_items_in_its_place_would(spec, sizes, tape, crashing):
    tape = Tape(tape)
    sizes = {
        name: size
        for name, size in zip(spec.tasks, sizes, strict=False)
        if size >= 0 and spec.tasks[name].chooses is None
    }
    driver = Driver(with_maps(spec, sizes))
    driver.start()
    crashes = 0
    while not driver.machine.finished:
        if crashing and crashes < 3 and not tape.below(5):
            crashes += 1
            driver.crash(lost=tape.below(min(len(driver.step.events), len(driver.events) - 2) + 1))
            continue
        name = tape.pick(driver.pending())
        task = spec.tasks[name.partition("[")[0]]
        if name in driver.waiting:
            driver.retry_due(name)
        elif name in sizes:
            driver.expand(name, range(sizes[name]))
        elif driver.live[name] <= task.failures:
            driver.fail(name)
        else:
            end_well(driver, task, name)
    record = driver.record
    flat = flattened(spec, sizes)
    cuts = {(name, attempt) for name, attempt in driver.cuts if name in flat.tasks and name not in sizes}
    for name, (state, attempts) in final_states(flat, cuts).items():
        mapped = record.tasks.get(name.partition("[")[0])
        if name in record.tasks and name not in sizes:
            assert (str(record.tasks[name].state), record.tasks[name].attempt) == (state, attempts), name
        else:  # the map itself never got to its items
            assert (mapped.state, mapped.items, state) == ("skipped", None, "skipped"), name
    assert record.state == ("failed" if any(task.state == "failed" for task in record.tasks.values()) else "successful")
