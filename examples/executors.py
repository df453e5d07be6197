"""Where tasks run: in processes that can be killed, in a pool, in an executor of one's own."""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

import trio

from goflow_trio import DefinitionError, Futures, Job, Process, TaskContext, open_engine
from goflow_trio.operators.base import Prepared


def count_primes(context: TaskContext) -> int:
    print(f"counting up to {context.item}")  # kept as the output of the attempt, wherever it runs
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, context.item))


def never_end() -> None:
    time.sleep(3600)


def fail() -> None:
    raise ValueError("no luck over there")


def spawned() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


class Loud:
    """An executor of one's own, for what need not travel."""

    def check(self, work: Prepared, task: str) -> None:
        if work.asynchronous:
            raise DefinitionError(f"task {task!r} is async")

    async def run(self, work: Prepared, context: TaskContext) -> object:
        context.log("LOUD")
        return await trio.to_thread.run_sync(work.call, abandon_on_cancel=True)

    async def aclose(self) -> None:
        pass


def jobs() -> list[Job]:
    job = Job("far away")
    job.map("primes", count_primes, over=[100, 1000], executor=Process(limit=2))
    job.task(executor="process", timeout=2)(never_end)
    job.task(executor=Futures(spawned))(fail)
    job.task(executor=Loud(), name="pid")(os.getpid)
    return [job]


async def main() -> None:
    async with open_engine(jobs=jobs()) as engine:
        record = await (await engine.submit("far away")).wait()
        print("primes:", record.tasks["primes[0]"].result, record.tasks["primes[1]"].result)
        print("printed:", (await engine.output(record.id, "primes[1]")).data.decode().strip())
        print("never_end:", record.tasks["never_end"].error.message)
        print("fail:", record.tasks["fail"].error.traceback.splitlines()[-1])
        print("pid is mine:", record.tasks["pid"].result == os.getpid())


if __name__ == "__main__":
    trio.run(main)
