"""A map on a Dask cluster: `python dask_cluster.py tcp://127.0.0.1:8786`."""

import sys

import trio

from goflow_trio import Dask, Job, TaskContext, open_engine


def square(context: TaskContext) -> int:
    print(f"squaring {context.item}")
    return context.item**2


def total(context: TaskContext) -> int:
    return sum(context.results["square"])


def make_job(address: str) -> Job:
    cluster = Dask(address)
    job = Job("sum of squares")
    squares = job.map("square", square, over=range(10), executor=cluster, retries=2)
    job.task(upstream=[squares])(total)
    return job


async def main(address: str) -> None:
    async with open_engine(jobs=[make_job(address)]) as engine:
        record = await (await engine.submit("sum of squares")).wait()
        print("total:", record.tasks["total"].result)
        print("printed there:", (await engine.output(record.id, "square[3]")).data.decode().strip())


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
