"""What the tests of executors run: plain functions of a module, as users have them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path


class Particular(Exception):
    """An exception that pickle cannot make again: it has arguments of its own."""

    def __init__(self, code, reason):
        super().__init__(f"{reason} ({code})")


def where(context):
    """Tell what a worker sees."""
    return {
        "pid": os.getpid(),
        "job": context.job,
        "attempt": context.attempt,
        "params": dict(context.params),
        "results": dict(context.results),
        "soon": context.deadline <= 60,
    }


def talk(context):
    print("printed")
    print("to stderr", file=sys.stderr)
    logging.getLogger("some.library").warning("logged")
    context.log("a line of mine")
    context.write(b"\xff raw\n")
    return "talked"


def fail():
    inner()


def inner():
    raise ValueError("no luck")


def fail_particularly():
    raise Particular(7, "very special")


def leave():
    raise SystemExit(3)


def lock():
    import threading

    return threading.Lock()


def note_and_sleep(context):
    """Write the pid into a file, then be busy for long."""
    path = Path(context.params["file"])
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)
    time.sleep(float(context.params.get("seconds", 60)))
    path.write_text("done")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_go(context):
    """Say that this attempt has begun, at most once, then wait until the test says go."""
    folder = Path(context.params["folder"])
    with (folder / f"{context.index}-{context.attempt}").open("x") as file:
        file.write(str(os.getpid()))
    print(f"item {context.item}")
    until = time.monotonic() + 60
    while not (folder / "go").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return context.item * 10
