"""A trigger rule of one's own: a function of how many upstreams ended in which way."""

from goflow_trio import Job, Noop, Tally, Task, Verdict


def most_successful(tally: Tally) -> Verdict:
    """Run as soon as more than half of the upstreams were successful; skip once that cannot be any more."""
    needed = tally.total // 2 + 1
    if tally.successful >= needed:
        return Verdict.RUN
    still_possible = tally.total - tally.done + tally.successful
    return Verdict.WAIT if still_possible >= needed else Verdict.SKIP


def fail() -> None:
    raise RuntimeError("this replica is down")


def quorum() -> Job:
    job = Job("quorum")
    replicas = [job.add(Task(name, work)) for name, work in (("a", Noop()), ("b", Noop()), ("c", fail))]
    replicas >> job.add(Task("commit", Noop(), trigger_rule=most_successful))
    return job
