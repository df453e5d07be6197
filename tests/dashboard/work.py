"""The work of the demo's tasks. `demo.py` loads it under the name that a file of jobs would have."""

from __future__ import annotations

import random

import trio

from goflow_trio import TaskContext


class Work:
    """Takes about so long, and fails in some share of its runs; says so like a program would."""

    def __init__(self, seconds, fails=0.0, message="", lines=()):
        self.seconds = seconds
        self.fails = fails
        self.message = message
        self.lines = lines

    async def run(self, context: TaskContext):
        dice = random.Random(f"{context.execution_id}{context.task}")
        often = random.Random(f"{context.execution_id}{context.task}{context.attempt}")
        for line in self.lines:
            context.log(line)
        await trio.sleep(self.seconds * dice.uniform(0.8, 1.25))
        if dice.random() < self.fails and often.random() < 0.8:
            context.log(self.message)
            raise ConnectionError(self.message)
        return {"rows": int(dice.uniform(100, 90_000)), "seconds": self.seconds}
