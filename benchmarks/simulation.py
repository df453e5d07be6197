"""How long a simulated year takes: an hourly job, twice, with the same bytes.

`python benchmarks/simulation.py` prints seconds of wall and of CPU time, and how many times faster than real time.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from goflow_trio import Job, TaskContext
from goflow_trio.testing import simulate

START, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def hourly() -> Job:
    job = Job("hourly", schedule="@hourly")

    @job.task
    async def work(context: TaskContext) -> int:
        return 0 if context.scheduled_for is None else context.scheduled_for.hour

    return job


def main() -> None:
    found = []
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        history = simulate(hourly, START, UNTIL)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        found.append(history.to_bytes())
        runs = len(history.executions)
        each = f"{cpu / runs * 1e6:.0f} µs a run"
        print(f"{runs} runs, {len(history.events)} events: {wall:.2f} s wall, {cpu:.2f} s CPU, {each}")
        print(f"  {(UNTIL - START).total_seconds() / wall:,.0f} times faster than real time")
    print("the same bytes twice:", found[0] == found[1], f"({len(found[0]):,} bytes)")


if __name__ == "__main__":
    main()
