"""The Goflow engine: register a job, log requests by an ASGI middleware, choose a store, run."""

import sys
from collections.abc import Callable
from typing import Any

from goflow_trio import Command, Goflow, Job, Task


def my_job() -> Job:
    job = Job("my-job", schedule="* * * * *")
    job.add(Task("sleep-for-one-second", Command("sleep", ["1"])))
    return job


def request_logger(app: Callable[..., Any]) -> Callable[..., Any]:
    async def logged(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            print(scope["method"], scope["path"], file=sys.stderr)
        await app(scope, receive, send)

    return logged


gf = Goflow(store="sqlite:///goflow.db", streaming=True)
gf.add_job(my_job)
gf.use(request_logger)

if __name__ == "__main__":
    gf.run("127.0.0.1:8181")
