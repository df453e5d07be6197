"""Writes `dashboard/test/recorded.json`: a session of the real server, as the reducers' tests replay it.

python -m tests.dashboard.record
"""

from __future__ import annotations

import json
from pathlib import Path

import trio
from httpx2 import AsyncClient

from goflow_trio import Goflow
from goflow_trio.web import wire
from tests.dashboard.jobs import make_jobs

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "dashboard" / "test" / "recorded.json"


async def record():
    """Return snapshots, the events between them, and the snapshots after: an overview, and executions."""
    gf = Goflow()
    for job in make_jobs():
        gf.add_job(job)
    async with trio.open_nursery() as nursery:
        (url,) = await nursery.start(lambda task_status: gf.serve("127.0.0.1:0", grace=0, task_status=task_status))
        async with AsyncClient(base_url=url) as client:

            async def get(path):
                return (await client.get("/api/" + path)).json()

            async def submit(job):
                execution = (await client.post(f"/api/jobs/{job}/submit")).json()["id"]
                return execution, await get(f"executions/{execution}/context")

            async def over(execution):
                while not (await get(f"executions/{execution}"))["finished"]:  # noqa: ASYNC110  # over HTTP
                    await trio.sleep(0.01)

            await over((await submit("nightly"))[0])
            overview = await get("overview?runs=100")
            begun = [await submit(job) for job in ("nightly", "broken", "flaky", "wide", "long")]
            for execution, _ in begun[:-1]:
                await over(execution)
            await client.post(f"/api/executions/{begun[2][0]}/retry")
            await over(begun[2][0])
            await client.post(f"/api/executions/{begun[4][0]}/cancel")
            await client.post("/api/jobs/nightly/toggle")
            last = await get("overview?runs=100")
            events = []
            async with gf._running().subscribe(after=overview["seq"]) as told:
                async for event in told:
                    events.append(json.loads(wire.encode(wire.event(event))))
                    if event.seq == last["seq"]:
                        break
            executions = [
                {"before": before, "after": await get(f"executions/{execution}/context")} for execution, before in begun
            ]
            rows = await get("runs?limit=100")
            nursery.cancel_scope.cancel()
    return {"overview": overview, "events": events, "after": last, "executions": executions, "rows": rows}


if __name__ == "__main__":
    told = json.dumps(trio.run(record), indent=1, ensure_ascii=True)
    # Tracebacks name files of this machine; of the same length, as events tell how many bytes they have.
    TARGET.write_text(told.replace(str(ROOT), "/srv/goflow".ljust(len(str(ROOT)), "_")) + "\n")
    print(f"wrote {TARGET}")
