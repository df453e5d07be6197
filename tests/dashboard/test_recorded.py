"""The session that the reducers are tested with is one that this server could have given."""

from __future__ import annotations

import json

from tests.dashboard.record import TARGET, record


def kinds_of(session):
    """Return the names that each kind of answer has, and each type of event."""
    found = {name: set(session[name]) for name in ("overview", "after", "rows")}
    found["job"] = {name for line in session["overview"]["jobs"] for name in line}
    found["row"] = {name for row in session["rows"]["runs"] for name in row}
    for execution in session["executions"]:
        found.setdefault("context", set()).update(execution["after"])
        found.setdefault("execution", set()).update(execution["after"]["execution"])
        for task in execution["after"]["execution"]["tasks"]:
            found.setdefault("task", set()).update(task)
    for event in session["events"]:
        found.setdefault(event["type"], set()).update(event)
    return found


async def test_the_recorded_session_is_what_the_server_says_today():
    recorded, today = json.loads(TARGET.read_text()), await record()
    renew = "the answers changed: python -m tests.dashboard.record, and mend dashboard/src/api.ts"
    now = kinds_of(today)
    gone = {kind: names - now.get(kind, set()) for kind, names in kinds_of(recorded).items()}
    assert {kind: names for kind, names in gone.items() if names} == {}, renew  # what is added harms nobody
