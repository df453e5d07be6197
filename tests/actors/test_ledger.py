"""What is known of schedules is a fold: told twice it is the same, bounded, and kept by a checkpoint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from goflow_trio.actors.ledger import Ledger, ScheduleState
from goflow_trio.core.messages import ScheduleMissed

START = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_latest_missed_instants_are_kept_once_and_by_a_checkpoint():
    instants = [START + timedelta(hours=hour) for hour in range(30)]
    events = [ScheduleMissed(at, "job", first=at, last=at, reason="busy", cause="overlap") for at in instants]
    ledger = Ledger()
    ledger.apply(events)
    ledger.apply(events[-3:])
    state = ledger.schedule("job")
    assert [event.last for event in state.missed] == instants[-20:]
    again = ScheduleState.from_plain(state.as_plain())
    assert [(event.last, event.reason, event.count) for event in again.missed] == [
        (at, "busy", 1) for at in instants[-20:]
    ]
    assert ScheduleState.from_plain({"active": None, "cursor": None}).missed == [], "an earlier version knew of none"
