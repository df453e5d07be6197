"""Jobs that are a burden to look at: very many, very large, very talkative."""

from __future__ import annotations

from datetime import timedelta

import trio

from goflow_trio import Job, Noop, Task, TaskContext
from goflow_trio.core.states import State
from goflow_trio.web.history import Run, history_of


def many_jobs():
    for number in range(500):
        job = Job(f"job_{number:03}", schedule="0 3 * * *")
        job.add(Task("only", Noop()))
        yield job


async def fill(engine):
    """Let each job have had fifty runs: 25,000 real ones take half a minute."""
    history = history_of(engine)
    await history.catch_up()
    start = engine.now()
    for name in engine.jobs:
        ended = [State.FAILED if n % 17 == 3 else State.SUCCESSFUL for n in range(50)]
        history._runs[name] = [
            Run(
                f"0193632f-9a5b-7000-8000-{n:012}",
                state,
                start,
                start,
                start + timedelta(seconds=30.25 + n),
                "schedule",
                (),
                1,
                1,
                None,
            )
            for n, state in enumerate(ended)
        ]


def layered(name, layers, width, work=None, **options):
    """A job of tasks in layers, each after two of the layer before."""
    job = Job(name, **options)
    work = work or Noop()
    layer = [job.add(Task(f"t_0_{n}", work)) for n in range(width)]
    for depth in range(1, layers):
        after = []
        for n in range(width):
            task = job.add(Task(f"t_{depth}_{n}", work))
            layer[n] >> task
            layer[(n * 7 + depth) % width] >> task
            after.append(task)
        layer = after
    return job


def graphs():
    yield layered("large", 50, 20)


def with_a_steady_one():
    """The many, and one of 600 tasks, of which fifty run each second: that makes a hundred events."""

    async def work():
        await trio.sleep(0.02)

    yield layered("steady", 30, 20, work, max_active_tasks=1)
    yield from many_jobs()


def talkers():
    """One that says 50,000 lines at once, and one that says a thousand a second for as long as it is asked to."""

    async def speak(context: TaskContext):
        for number in range(50_000):
            context.log(f"{number:06} the quick brown fox")
            if number % 500 == 0:
                await trio.lowlevel.checkpoint()

    async def chat(context: TaskContext):
        for number in range(10 * context.params["seconds"]):
            for line in range(100):
                context.log(f"{number:04}.{line:02} the quick brown fox jumps over the lazy dog")
            await trio.sleep(0.1)

    talker = Job("talker")
    talker.add(Task("speak", speak))
    yield talker
    chatter = Job("chatter", params={"seconds": 10})
    chatter.add(Task("chat", chat))
    yield chatter


def one_that_fails():
    async def load(context: TaskContext):
        for number in range(200):
            context.log(f"chunk {number}")
        context.log("psycopg.OperationalError: server closed the connection")
        raise ConnectionError("server closed the connection unexpectedly")

    job = Job("fails")
    job.add(Task("fetch", Noop())) >> job.add(Task("load", load))
    yield job
