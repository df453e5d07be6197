"""Jobs for servers that are killed: see load.py."""

import trio

from goflow_trio import ConstantDelay, Job, Task

loaded = Job("loaded")


@loaded.task(idempotent=True, retries=100, retry_delay=ConstantDelay(0.1))
async def first():
    await trio.sleep(0.05)
    return "first"


@loaded.task(upstream=first, retries=100, retry_delay=ConstantDelay(0.1))
async def second(context):
    return context.results["first"]


ticking = Job("ticking", schedule="* * * * * *", active=True, misfire="all")
ticking.add(Task("tick", lambda: "tick", retries=100, retry_delay=ConstantDelay(0.1)))

jobs = [loaded, ticking]
