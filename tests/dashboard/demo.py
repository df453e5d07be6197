"""A small company's jobs with weeks of history, made by the real engine on a virtual clock."""

from __future__ import annotations

import linecache
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio
import trio.testing

from goflow_trio import ConstantDelay, Job, Task, TriggerRule, open_engine
from goflow_trio.actors.environment import virtual_environment
from goflow_trio.actors.submitting import submit
from goflow_trio.stores.memory import MemoryBackend

SEED = 7


class Kept(MemoryBackend):
    """A store in memory that outlives its engine."""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def load(shown):
    """Return the class of `work.py`, whose tracebacks name the file `shown`: pictures show no path of this machine."""
    source = Path(__file__).with_name("work.py").read_text()
    linecache.cache[shown] = (len(source), None, source.splitlines(keepends=True), shown)
    names = {"__name__": "etl"}
    exec(compile(source, shown, "exec"), names)
    return names["Work"]


Work = load("/srv/jobs/etl.py")

LOST = (
    "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally\n"
    "\tbefore or while processing the request."
)


def nightly_etl():
    job = Job(
        "nightly_etl",
        schedule="0 3 * * *",
        active=True,
        timezone="Europe/Berlin",
        tags=("etl", "warehouse"),
        params={"date": "today", "chunk_rows": 50_000},
        overlap="skip",
        description="Copies yesterday's orders into the warehouse and builds the morning's report.",
        owner="data@example.org",
    )

    def task(name, seconds, *, after=(), **options):
        lines = options.pop("lines", ("connecting to warehouse:5432 as etl",))
        fails = options.pop("fails", 0.0)
        made = job.add(Task(name, Work(seconds, fails, LOST, lines), **options))
        for before in after:
            before >> made
        return made

    orders, refunds, users = task("fetch_orders", 31), task("fetch_refunds", 12), task("fetch_users", 22)
    clean_orders = task("clean_orders", 27, after=[orders, refunds])
    clean_users = task("clean_users", 18, after=[users])
    join = task("join_orders", 38, after=[clean_orders, clean_users])
    load_users = task("load_users", 26, after=[clean_users])
    fraud, report = task("score_fraud", 75, after=[join]), task("build_report", 44, after=[join])
    copies = [f"COPY orders FROM stdin (chunk {n}/8, 50 000 rows)" for n in range(1, 5)]
    load = task(
        "load_orders",
        41,
        after=[join],
        fails=0.12,
        retries=2,
        retry_delay=ConstantDelay(8),
        lines=("connecting to warehouse:5432 as etl", *copies, "\x1b[33mwarning:\x1b[0m checkpoint took 11.2 s"),
    )
    notify = task("notify", 1, after=[fraud, report, load])
    task("cleanup", 6, after=[notify, load_users], trigger_rule=TriggerRule.ALL_DONE)
    return job


SIMPLE = [
    ("import_stripe", "15 */2 * * *", True, ("billing",), 259, 0.05, 3),
    ("rollup_metrics", "*/30 * * * *", True, ("metrics",), 118, 0.04, 2),
    ("sync_crm", "*/20 * * * *", True, ("crm",), 210, 0.03, 5),
    ("warm_cache", "5 */3 * * *", True, (), 711, 0.02, 1),
    ("backup_postgres", "30 2 * * *", True, ("backup",), 3.9, 0.02, 2),
    ("invoice_export", "0 6 * * 1-5", True, ("billing",), 47, 0.06, 4),
    ("cert_renew", "17 4 * * *", True, ("infra",), 1025, 0, 1),
    ("prune_logs", "0 3 * * *", False, ("infra",), 53, 0.02, 1),
    ("digest_mail", "30 2 * * *", True, (), 20, 0.04, 3),
    ("reindex_search", "0 6 * * 1-5", True, ("search",), 218, 0, 6),
    ("backup_s3", "17 4 * * *", True, ("backup", "infra"), 5.7, 0.25, 2),
    ("vacuum_db", "45 */6 * * *", True, ("infra",), 196, 0.05, 1),
    ("check_links", "@every 1h", True, (), 325, 0.03, 2),
    ("sitemap", "5 */4 * * *", True, ("search",), 58, 0.03, 1),
    ("geoip_update", "0 12 * * *", False, ("infra",), 17, 0.15, 2),
    ("report_weekly", "0 7 * * 1", True, ("reports",), 4, 0, 3),
    ("train_churn", None, False, ("ml",), 1000, 0.04, 8),
]


def simple(row):
    name, schedule, active, tags, seconds, fails, tasks = row
    job = Job(name, schedule=schedule, active=active, tags=tags, misfire="skip")
    last = None
    for number in range(tasks):
        step = job.add(
            Task(
                f"step_{number + 1}",
                Work(seconds / tasks, fails / tasks, f"HTTP 503 from upstream after {seconds} s"),
                retries=1 if fails else 0,
            )
        )
        if last is not None:
            last >> step
        last = step
    return job


def demo_jobs():
    return [nightly_etl(), *(simple(row) for row in SIMPLE)]


def filled(now=None, runs=60):
    """Return a store in which each demo job has had so many runs, at the instants its schedule gave until now."""
    now = now or datetime.now(UTC)
    backend = Kept()
    jobs = demo_jobs()
    past = []
    for job in jobs:
        if job.schedule is not None:
            at = now - timedelta(days=2 * runs)
            instants = []
            while (at := job.schedule.next_after(at)) is not None and at < now:
                instants.append(at)
            past += [(at, job.name) for at in instants[-runs:]]
        else:
            past += [(now - timedelta(hours=7 * n + 2), job.name) for n in range(runs // 3)]
        job.active = False  # what ran is said below; the scheduler of that engine has no part in it
    past.sort()

    async def main():
        start = past[0][0]
        async with open_engine(backend, jobs, environment=virtual_environment(start, seed=SEED)) as engine:
            for at, name in past:
                await trio.sleep(max(0, (at - engine.now()).total_seconds()))
                scheduled = engine.job(name).schedule is not None
                instant, trigger = (at, "schedule") if scheduled else (None, "manual")
                await submit(engine._executions, name, scheduled_for=instant, trigger=trigger)
            await trio.sleep((now - engine.now()).total_seconds())

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return backend
