"""The jobs the browser looks at: small, quick, and one of each kind of trouble."""

from __future__ import annotations

import trio

from goflow_trio import Command, ConstantDelay, Job, Noop, Task, TaskContext, TriggerRule

HOSTILE = "<img src=x onerror=alert(1)> & \u202egnp.exe"
"""A name of markup and a right-to-left override."""

HOSTILE_LINES = (
    "<script>alert(document.cookie)</script>",
    "\x1b[31mred\x1b[0m \x1b[38;5;208morange\x1b[0m \x1b]0;title\x07\x1b[2Jplain",
    "\u202eright to left",
    "long " + "x" * 10_000,
    "progress 10%\rprogress 90%\rprogress done",
)


def nightly():
    job = Job(
        "nightly",
        schedule="0 3 * * *",
        active=True,
        timezone="Europe/Berlin",
        tags=["etl"],
        params={"day": "today", "limit": 10, "dry": False},
        description="Copies orders into the warehouse",
    )
    fetch, clean, load = (job.add(Task(name, Noop())) for name in ("fetch", "clean", "load"))
    fetch >> clean >> load
    return job


def broken():
    """Fails once it was retried, skips what follows, cleans up."""

    async def load(context: TaskContext):
        context.log("COPY orders")
        context.log("psycopg.OperationalError: server closed the connection")
        raise ConnectionError("server closed the connection unexpectedly")

    job = Job("broken", tags=["etl"])
    first = job.add(Task("fetch", Noop()))
    bad = job.add(Task("load", load, retries=1, retry_delay=ConstantDelay(0.05)))
    notify = job.add(Task("notify", Noop()))
    tidy = job.add(Task("tidy", Noop(), trigger_rule=TriggerRule.ALL_DONE))
    first >> bad >> notify >> tidy
    return job


def hostile():
    async def speak(context: TaskContext):
        for line in HOSTILE_LINES:
            context.log(line)
        return {"<b>key</b>": "<script>alert(1)</script>"}

    job = Job(HOSTILE, description="<i>not italic</i>")
    job.add(Task("<b>bold</b>", speak))
    job.add(Task("second", Noop()))
    return job


def long():
    """Runs until it is cancelled, saying something now and then."""

    async def speak(context: TaskContext):
        for number in range(100_000):
            context.log(f"line {number}")
            await trio.sleep(0.2)

    job = Job("long")
    job.add(Task("speak", speak)) >> job.add(Task("after", Noop()))
    return job


def flaky():
    """Fails at first, and is good when it is run again."""
    job = Job("flaky")
    job.add(Task("good", Noop())) >> job.add(Task("bad", lambda context: 1 / (context.attempt - 1)))
    return job


def wide():
    """A fan-out that folds."""
    job = Job("wide")
    start, end = job.add(Task("start", Noop())), job.add(Task("end", Noop()))
    for number in range(20):
        start >> job.add(Task(f"map_{number}", Noop())) >> end
    return job


def wordy():
    """Prints more than a page reads at first, and more than is kept if `lines` is large; long lines with `more`."""
    job = Job("wordy", params={"lines": 30_000, "more": ""})

    def speak(context: TaskContext):
        lines, more = range(1, context.params["lines"] + 1), context.params["more"]
        text = "".join(f"line {n} {'<b>needle</b>' if n % 1000 == 7 else 'hay'}{more}\n" for n in lines)
        context.write(text.encode())

    job.add(Task("speak", speak))
    return job


def grouped():
    """Tasks in a group, and a limit of time and of tasks at once."""

    async def wait(context: TaskContext):
        await trio.sleep(30)

    job = Job("grouped", timeout=60, max_active_tasks=1)
    start = job.add(Task("start", Noop()))
    with job.group("load"):
        loads = [job.add(Task(f"load_{name}", wait)) for name in ("users", "orders")]
    start >> loads
    return job


def shell():
    job = Job("shell")
    job.add(Task("echo", Command("sh", ["-c", "echo to stdout; echo to stderr >&2"])))
    return job


def make_jobs():
    return [make() for make in (nightly, broken, hostile, long, flaky, wide, wordy, grouped, shell)]
