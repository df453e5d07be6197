"""Random jobs under random histories: the machine against a naive reference, and the invariants of the record.

A tape of choices decides at each turn which attempt ends, which delay is over, whether a stale report arrives,
someone cancels or the engine dies. A failing example prints the job and the tape; `@reproduce_failure` replays it.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from goflow_trio.core.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptSucceeded,
    CancelRequested,
    DeadlineReached,
    ExecutionFinished,
    RetryDue,
    TaskStarted,
)
from goflow_trio.core.record import apply_event, fold, submitted_record
from tests.core.driver import ERROR, Driver
from tests.core.naive import CRASH_LIMIT, FINAL, Naive, execution_state, final_states, verdict
from tests.strategies import Tape, job_of, jobs, tapes

thorough = settings(max_examples=150)


def started_in(step):
    return [event.task for event in step.events if isinstance(event, TaskStarted)]


def end_well(driver, task, name):
    """End an attempt that does not fail."""
    if task.skips:
        driver.skip(name)
    else:
        driver.succeed(name, chosen=task.chooses)


class Pair:
    """A machine and the naive reference that are told the same, and must agree after every turn."""

    def __init__(self, spec, tape):
        self.spec = spec
        self.tape = tape
        self.driver = Driver(job_of(spec))
        self.naive = Naive(spec)
        self.agree()

    def agree(self):
        self.naive.settle(started_in(self.driver.step))
        assert self.driver.states == self.naive.states
        assert {name: task.attempt for name, task in self.driver.record.tasks.items()} == self.naive.attempts
        assert self.driver.machine.finished == bool(self.naive.finished())

    def start(self):
        self.naive.started = True
        self.driver.start()
        self.agree()

    def turn(self):
        """End one attempt, or one wait, as the tape says."""
        driver, naive = self.driver, self.naive
        pending = driver.pending()
        assert pending, f"nothing is left to happen, but it has not ended: {driver.states}"
        name = self.tape.pick(pending)
        if name in driver.waiting:
            naive.retry_due(name)
            driver.retry_due(name)
        elif name in driver.to_cancel and self.tape.below(3):
            naive.cancel_attempt(name)
            driver.acknowledge_cancel(name)
        elif driver.live[name] > self.spec.tasks[name].failures:
            naive.succeed(name)
            end_well(driver, self.spec.tasks[name], name)
        else:
            naive.fail(name)
            driver.fail(name)
        self.agree()

    def stale(self):
        """Send something out of date; nothing may come of it."""
        name = self.tape.pick(self.spec.declared)
        attempt = self.driver.record.tasks[name].attempt
        current = attempt if name not in self.driver.live and name not in self.driver.waiting else attempt - 1
        for report in (
            AttemptSucceeded(name, current),
            AttemptFailed(name, attempt + 1, ERROR),
            AttemptCancelled(name, current),
            RetryDue(name, attempt - 1),
            RetryDue(name, attempt + 1),
            *(RetryDue(due, self.driver.waiting[due]) for due in sorted(self.driver.due)),
        ):
            step = self.driver.report(report)
            assert (step.events, step.instructions) == ([], [])

    def cancel(self, *, force=False):
        self.naive.end("cancelled", forced=force)
        self.driver.cancel(force=force)
        self.agree()

    def reopen(self, names, **options):
        self.naive.reopen(names)
        self.driver.reopen(**options)
        self.agree()

    def crash(self):
        self.naive.crash()
        self.driver.crash()
        self.agree()


def check_ending(spec, driver):
    """What holds for every finished execution, from its log alone."""
    assert driver.record == fold(driver.events)["e1"]
    assert [event.version for event in driver.events] == list(range(1, len(driver.events) + 1))
    openings = 1 + len(driver.record.reopenings)
    assert sum(isinstance(event, ExecutionFinished) for event in driver.events) == openings
    record = submitted_record(driver.events[0])
    for event in driver.events[1:]:
        if isinstance(event, TaskStarted) and event.attempt == record.tasks[event.task].earlier + 1:
            ups = {before: str(record.tasks[before].state) for before in spec.tasks[event.task].upstream}
            assert verdict(spec, event.task, ups) == "run", f"{event.task} started though its upstreams are {ups}"
        if event.task:
            assert record.tasks[event.task].state not in FINAL
        apply_event(record, event)
    for name, task in record.tasks.items():
        spec_task = spec.tasks[name]
        assert [attempt.number for attempt in task.attempts] == list(range(1, task.attempt + 1))
        assert all(attempt.state in FINAL and attempt.finished is not None for attempt in task.attempts)
        assert all(
            before.finished <= after.started for before, after in zip(task.attempts, task.attempts[1:], strict=False)
        )
        assert task.attempt <= openings * (1 + spec_task.retries + (CRASH_LIMIT if spec_task.idempotent else 0))
        cut = [attempt for attempt in task.attempts if attempt.reason in {"interrupted", "crash-loop"}]
        assert len(cut) <= openings * (CRASH_LIMIT + 1)
    if record.ending is None:
        assert record.state == execution_state({str(task.state) for task in record.tasks.values()})
        assert record.reopenings or not any(task.state == "cancelled" for task in record.tasks.values())
    else:
        assert record.state == record.ending


@given(jobs(), tapes())
@thorough
def test_without_a_cancel_tasks_end_as_their_outcomes_say_whatever_the_order(spec, tape):
    pair = Pair(spec, Tape(tape))
    pair.start()
    while not pair.driver.machine.finished:
        pair.turn()
        if not pair.tape.below(8) and spec.tasks:
            pair.stale()
    assert pair.driver.ends == final_states(spec)
    check_ending(spec, pair.driver)


@given(jobs(), tapes(), st.integers(0, 40), st.one_of(st.none(), st.integers(0, 10)))
@thorough
def test_a_cancel_at_any_turn_ends_all_but_the_clean_up_and_a_forced_one_that_too(spec, tape, at, forced_after):
    pair = Pair(spec, Tape(tape))
    turns = 0
    while not pair.driver.machine.finished:
        if turns == at:
            pair.cancel()
        elif forced_after is not None and turns == at + forced_after + 1:
            pair.cancel(force=True)
        elif turns == 0:
            pair.start()
        else:
            pair.turn()
        turns += 1
        if turns == 1 and at == 0:
            break
    assert pair.driver.machine.finished
    check_ending(spec, pair.driver)
    if pair.naive.ending:
        assert pair.driver.state == "cancelled"


@given(jobs(), tapes(), st.integers(1, 6))
@thorough
def test_crashes_at_any_turn_cut_attempts_and_nothing_else(spec, tape, rate):
    pair = Pair(spec, Tape(tape))
    pair.start()
    crashes = 0
    while not pair.driver.machine.finished:
        if not pair.tape.below(rate) and crashes < 12:
            crashes += 1
            pair.crash()
        else:
            pair.turn()
    assert pair.driver.ends == final_states(spec, pair.driver.cuts)
    check_ending(spec, pair.driver)


@given(jobs(), tapes(), st.integers(0, 20))
@thorough
def test_crashes_and_a_cancel_together(spec, tape, at):
    pair = Pair(spec, Tape(tape))
    pair.start()
    turns = crashes = 0
    while not pair.driver.machine.finished:
        if turns == at:
            pair.cancel()
        elif not pair.tape.below(4) and crashes < 12:
            crashes += 1
            pair.crash()
        else:
            pair.turn()
        turns += 1
    check_ending(spec, pair.driver)


def turn(driver, spec, tape):
    """End one attempt, or one wait, as the tape says."""
    pending = driver.pending()
    assert pending, f"nothing is left to happen, but it has not ended: {driver.states}"
    name = tape.pick(pending)
    if name in driver.waiting:
        driver.retry_due(name)
    elif name in driver.to_cancel and tape.below(3):
        driver.acknowledge_cancel(name)
    elif driver.live[name] > spec.tasks[name].failures:
        end_well(driver, spec.tasks[name], name)
    else:
        driver.fail(name)


@given(jobs(), tapes(), st.one_of(st.none(), st.integers(0, 20)), st.booleans())
@thorough
def test_a_log_cut_off_in_the_middle_of_a_step_is_gone_on_with(spec, tape, at, by_deadline):
    """A long step may be written in several segments, so a crash can leave any prefix of its events."""
    tape = Tape(tape)
    driver = Driver(job_of(spec))
    turns = crashes = 0
    while not driver.machine.finished or crashes < 3:
        if driver.machine.finished or (crashes < 12 and not tape.below(4)):
            crashes += 1
            # The first event of all is the submit, which nothing is restored without.
            if driver.crash(lost=tape.below(min(len(driver.step.events), len(driver.events) - 1) + 1)) is None:
                break
        elif turns == at:
            driver.report(DeadlineReached() if by_deadline else CancelRequested("asked to"))
        elif driver.state == "notstarted":
            driver.start()
        else:
            turn(driver, spec, tape)
        turns += 1
    check_ending(spec, driver)
    if driver.record.ending is None:
        assert driver.ends == final_states(spec, driver.cuts)


@given(jobs(), tapes())
@thorough
def test_equal_reports_give_equal_events(spec, tape):
    def history(tape):
        driver = Driver(job_of(spec))
        driver.start()
        while not driver.machine.finished:
            turn(driver, spec, tape)
        return driver.events

    assert history(Tape(tape)) == history(Tape(tape))
