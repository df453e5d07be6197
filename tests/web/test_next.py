"""What comes, in local time and plain English, over a real socket."""

from __future__ import annotations

from datetime import datetime

from goflow_trio import Job, Noop, Task
from tests.web.test_api import serving


async def test_next_in_local_time_and_plain_english():
    job = Job("berlin", schedule="30 2 * * 1-5", timezone="Europe/Berlin")
    job.add(Task("work", Noop()))
    async with serving([job]) as client:
        body = (await client.get("/api/jobs/berlin/next?n=2")).json()
        assert body["description"] == "At 02:30, Monday through Friday (Europe/Berlin)"
        assert (body["schedule"], body["timezone"]) == ("30 2 * * 1-5", "Europe/Berlin")
        assert [moment["utc"] for moment in body["instants"]] == body["next"]
        for moment in body["instants"]:
            assert "T02:30:00+0" in moment["local"]
            assert datetime.fromisoformat(moment["local"]) == datetime.fromisoformat(moment["utc"])
