"""A program with many scheduled jobs on SQLite, to be killed or to have its clock set: see `main`.

`python -m tests.faults.scheduled DB LOG JOBS SPEC`: JOBS jobs with the schedule SPEC; each run appends a line to LOG
with the job, its instant, the wall clock and how many seconds it took. A line on standard output says that it is ready.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime

import trio

from goflow_trio import Job, open_engine


def jobs(log: str, count: int, spec: str) -> list[Job]:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    made = []
    for number in range(count):
        job = Job(f"job-{number:02d}", schedule=spec, active=True)

        @job.task
        async def work(context):
            begun = time.monotonic()
            now = datetime.now(UTC)
            await trio.sleep(0.01)
            line = (
                f"{context.job} {context.scheduled_for.isoformat()} {now.isoformat()} {time.monotonic() - begun:.6f}\n"
            )
            os.write(file, line.encode())  # one write: a kill cuts no line in two

        made.append(job)
    return made


async def main(database: str, log: str, count: str, spec: str) -> None:
    async with open_engine(f"sqlite:///{database}", jobs=jobs(log, int(count), spec)):
        print("ready", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
