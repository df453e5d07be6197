"""A trio program with an engine inside: it submits a job, follows its events, and reads the results.

python examples/embedded_service.py [STORE]
"""

import sys

import trio

from goflow_trio import Job, TaskContext, open_engine

job = Job("greet", params={"name": "world"})


@job.task
async def find_name(context: TaskContext) -> str:
    await trio.sleep(0.1)
    return context.params["name"]


@job.task(upstream=find_name)
def greet(context: TaskContext) -> str:  # a plain function: it runs in a worker thread
    return f"hello {context.results['find_name']}"


async def main(store: str) -> None:
    async with open_engine(store, jobs=[job]) as engine, engine.subscribe() as events:
        execution = await engine.submit("greet", params={"name": "trio"})
        async for event in events:
            print(event.seq, event.type, event.task)
            if event.type == "execution.finished":
                break
        record = await execution.wait()
        print(record.state, record.tasks["greet"].result)


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "memory://")
