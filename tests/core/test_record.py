"""A record is the fold of its events: in any overlap, once each, and never with one missing."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goflow_trio.core.messages import (
    EVENT_TYPES,
    PAYLOAD_FIELDS,
    Event,
    ScheduleToggled,
    TaskOutput,
    TaskProgress,
    TaskStarted,
)
from goflow_trio.core.record import apply_event, fold, submitted_record
from goflow_trio.core.states import State
from goflow_trio.errors import CodecError
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.task import Task
from tests.core.driver import EPOCH, Driver
from tests.strategies import work


def history():
    """Return the events of an execution that failed, was retried, skipped a task and was cancelled."""
    job = Job("job")
    a = job.add(Task("a", work, retries=1))
    b = job.add(Task("b", work))
    c = job.add(Task("c", work))
    job.add(Task("d", work))
    a >> b >> c
    driver = Driver(job)
    driver.start()
    driver.fail("a")
    driver.retry_due("a")
    driver.fail("a")
    driver.cancel("enough")
    driver.acknowledge_cancel("d")
    assert driver.state == "cancelled"
    return driver.events


EVENTS = history()


@given(st.integers(1, len(EVENTS)), st.integers(0, len(EVENTS)))
def test_a_snapshot_and_an_overlapping_tail_give_the_record_of_the_whole_log(snapshot, overlap):
    record = fold(deepcopy(EVENTS[:snapshot]))["e1"]
    for event in EVENTS[max(0, snapshot - overlap) :]:
        apply_event(record, event)
    assert record == fold(EVENTS)["e1"]


def test_an_event_applied_twice_changes_nothing():
    once, twice = submitted_record(EVENTS[0]), submitted_record(EVENTS[0])
    for event in EVENTS:
        apply_event(once, event)
        apply_event(twice, event)
        apply_event(twice, event)
        assert once == twice


@pytest.mark.parametrize("missing", range(1, len(EVENTS) - 1))
def test_a_missing_event_is_noticed_and_the_record_left_as_it_was(missing):
    record = submitted_record(EVENTS[0])
    for event in EVENTS[:missing]:
        apply_event(record, event)
    before = deepcopy(record)
    after = EVENTS[missing + 1]
    with pytest.raises(CodecError) as caught:
        apply_event(record, after)
    assert str(caught.value) == (
        f"execution e1: event {after.version} ({after.type}) follows {missing}; "
        f"the events between are missing from the log"
    )
    assert record == before


def test_live_events_and_events_of_schedules_are_no_part_of_a_record():
    record = fold(EVENTS)["e1"]
    before = deepcopy(record)
    apply_event(record, TaskOutput(EPOCH, "job", "e1", task="a", text="hello"))
    apply_event(record, TaskProgress(EPOCH, "job", "e1", task="a", done=1))
    assert record == before
    assert fold([ScheduleToggled(EPOCH, "job", active=True), *EVENTS]) == fold(EVENTS)


def test_executions_that_are_mixed_in_one_log_are_folded_apart():
    second = deepcopy(EVENTS)
    for event in second:
        event.execution = "e2"
    mixed = [event for pair in zip(EVENTS, second, strict=True) for event in pair]
    records = fold(mixed)
    assert list(records) == ["e1", "e2"]
    assert records["e1"] == fold(EVENTS)["e1"]
    assert records["e2"].tasks == records["e1"].tasks


def test_a_log_without_the_submit_is_damaged():
    with pytest.raises(CodecError, match=r"^execution e1: its first event is missing from the log$"):
        fold(EVENTS[1:])


def test_an_event_of_a_task_that_the_execution_does_not_have_is_damage():
    record = submitted_record(EVENTS[0])
    with pytest.raises(CodecError, match=r"^execution e1: event 2 is about task 'x', which it does not have$"):
        apply_event(record, TaskStarted(EPOCH, "job", "e1", version=2, task="x", attempt=1))
    assert record.version == 1


def test_the_record_tells_when_it_last_changed():
    record = submitted_record(EVENTS[0])
    assert (record.modified, record.state) == (EVENTS[0].at, State.NOTSTARTED)
    apply_event(record, EVENTS[1])
    assert record.modified == record.started == EVENTS[1].at


def test_every_event_has_a_name_of_its_own_and_a_payload_of_its_own_fields():
    assert set(EVENT_TYPES.values()) == set(Event.__subclasses__())
    assert all(kind.type == name for name, kind in EVENT_TYPES.items())
    assert PAYLOAD_FIELDS["task.retry_scheduled"] == ("error", "reason", "retry_at", "spared")
    assert EVENTS[1].payload() == {}
    assert EVENTS[0].payload()["tasks"] == ("a", "b", "c", "d")
