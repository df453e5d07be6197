"""A connection that the tasks of one execution share, and tasks in groups."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from goflow_trio import Job, Noop, Task, TaskContext

events: list[str] = []


class Database:
    """Stands for a connection."""

    def __init__(self, url: str) -> None:
        self.rows: list[str] = []
        events.append(f"connected to {url}")

    async def insert(self, row: str) -> None:
        self.rows.append(row)


@asynccontextmanager
async def connect(context: TaskContext) -> AsyncIterator[Database]:
    database = Database(context.params["url"])
    try:
        yield database
    finally:
        events.append(f"closed after {len(database.rows)} rows")


async def insert(context: TaskContext) -> None:
    await context.resources["db"].insert(context.task)


def load() -> Job:
    job = Job("load", params={"url": "db://here"})
    start = job.add(Task("start", Noop()))
    with job.group("insert"):
        inserts = [job.add(Task(f"insert-{name}", insert)) for name in ("users", "orders", "prices")]
    start >> inserts
    job.resource("db", connect, users=inserts)
    return job
