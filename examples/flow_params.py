"""Typed parameters, checked on submit; and a secret that is never shown."""

from datetime import date
from typing import Annotated

import attrs
import trio
from msgspec import Meta

from goflow_trio import Command, Job, ParamsError, Secret, Task, TaskContext, open_engine


@attrs.frozen
class Params:
    """What to load."""

    rows: Annotated[int, Meta(ge=1, description="how many rows to load")]
    day: date = date(2026, 1, 1)


job = Job("load", params=Params)


@job.task
async def load(context: TaskContext) -> str:
    return f"{context.params.rows} rows of {context.params.day:%d %B %Y}"


job.add(Task("deploy", Command("echo", ["with", Secret("DEPLOY_TOKEN")])))


async def main() -> None:
    async with open_engine(jobs=[job]) as engine:
        try:
            await engine.submit("load", {"rows": 0, "day": "tomorrow"})
        except ParamsError as error:
            for name, text in error.fields.items():
                print(f"{name}: {text}")
        record = await (await engine.submit("load", {"rows": 3})).wait()
        print(record.results)


if __name__ == "__main__":
    trio.run(main)
