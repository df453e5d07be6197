"""A store that is full for a while: what is refused, what goes on, and that nothing is lost. Runs in some seconds."""

import trio

from goflow_trio import Job, TaskContext, open_engine
from goflow_trio.errors import StoreFull, StoreUnavailable
from goflow_trio.stores.memory import MemoryBackend
from goflow_trio.testing.faulty import WRITES, FaultyBackend

job = Job("report")


@job.task
async def write(context: TaskContext) -> str:
    await trio.sleep(1)
    return "written"


async def main() -> None:
    backend = FaultyBackend(MemoryBackend())
    async with open_engine(backend, jobs=[job]) as engine:
        execution = await engine.submit("report")
        with backend.failing(operations=WRITES, error=StoreFull("no space left")):
            try:
                await engine.submit("report")
            except StoreUnavailable as error:
                print("refused:", error)
            await trio.sleep(1)  # the task ends meanwhile; what came of it is held
            print("health:", engine.health().causes[0].name)
        record = await execution.wait()
        print("then:", record.state, record.tasks["write"].result)


if __name__ == "__main__":
    trio.run(main)
