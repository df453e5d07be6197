"""What must happen, written the slow and obvious way, to hold the machine against.

- `RULES`: each trigger rule as a condition over the list of upstream states.
- `final_states`: how tasks end when nobody cancels: one pass over the graph, no order of events, no machine.
- `Naive`: an execution that rescans every task after every report until nothing moves. It says which tasks are
  ready; among equals it lets the machine choose, and checks that the choice was fair.

Nothing here is imported from `goflow_trio`.
"""

from attrs import Factory, define

FINAL = {"successful", "failed", "skipped", "cancelled"}
CRASH_LIMIT = 3

LEGAL = {
    ("notstarted", "running"),
    ("notstarted", "skipped"),
    ("notstarted", "cancelled"),
    ("running", "successful"),
    ("running", "failed"),
    ("running", "upforretry"),
    ("running", "skipped"),
    ("running", "cancelled"),
    ("upforretry", "running"),
    ("upforretry", "failed"),
    ("upforretry", "cancelled"),
}
"""The transitions of a task that may be seen at all."""


def once_ended(holds):
    def rule(ups):
        if any(up not in FINAL for up in ups):
            return "wait"
        return "run" if holds(ups) else "skip"

    return rule


def as_soon_as(*wanted):
    def rule(ups):
        if not ups or any(up in wanted for up in ups):
            return "run"
        return "skip" if all(up in FINAL for up in ups) else "wait"

    return rule


RULES = {
    "allSuccessful": once_ended(lambda ups: set(ups) <= {"successful"}),
    "allDone": once_ended(lambda ups: True),
    "allFailed": once_ended(lambda ups: set(ups) <= {"failed"}),
    "oneSuccessful": as_soon_as("successful"),
    "oneFailed": as_soon_as("failed"),
    "oneDone": as_soon_as("successful", "failed"),
    "noneFailed": once_ended(lambda ups: set(ups) <= {"successful", "skipped"}),
    "noneSkipped": once_ended(lambda ups: "skipped" not in ups),
    "noneFailedMinOneSuccessful": once_ended(
        lambda ups: set(ups) <= {"successful", "skipped"} and ("successful" in ups or not ups)
    ),
    "allSkipped": once_ended(lambda ups: set(ups) <= {"skipped"}),
    "always": lambda ups: "run",
}


def verdict(spec, name, states):
    """Return whether a task is to run: what the branches before it chose, then what its rule says."""
    task = spec.tasks[name]
    branches = [before for before in task.upstream if spec.tasks[before].chooses is not None]
    if any(states[branch] == "successful" and name not in spec.tasks[branch].chooses for branch in branches):
        return "skip"
    if any(states[branch] not in FINAL for branch in branches):
        return "wait"
    return RULES[task.rule]([states[before] for before in task.upstream])


def is_cleanup(task):
    return task.rule == "allDone" and bool(task.upstream)


def outcome_of(task, cuts, made=0):
    """Return (final state, attempts) of a task that runs; `cuts` are the numbers of its attempts a crash cut.

    `made` attempts of it had been made before the execution was opened again.
    """
    used = interruptions = attempt = 0
    while True:
        attempt += 1
        if attempt in cuts:
            interruptions += 1
            if interruptions > CRASH_LIMIT:
                return "failed", attempt
            if task.idempotent:
                continue
        elif made + attempt > task.failures:
            return ("skipped" if task.skips else "successful"), attempt
        used += 1
        if used > task.retries:
            return "failed", attempt


def final_states(spec, cuts=()):
    """Return {task: (state, attempts)} of an execution that nobody cancels, from the outcomes of its tasks alone.

    Rules that fire early are no exception: whether they fire does not depend on the order, only when.

    Args:
        spec: the job.
        cuts: (task, attempt) of every attempt that a crash cut.
    """
    ends = {}
    while len(ends) < len(spec.tasks):
        for name, task in spec.tasks.items():
            if name not in ends and all(before in ends for before in task.upstream):
                says = verdict(spec, name, {before: ends[before][0] for before in task.upstream})
                cut = {attempt for cut_task, attempt in cuts if cut_task == name}
                ends[name] = outcome_of(task, cut) if says == "run" else ("skipped", 0)
    return ends


def execution_state(states, ending=None):
    """Return how an execution ends whose tasks ended so."""
    return ending or next((state for state in ("failed", "cancelled") if state in states), "successful")


@define
class Naive:
    """The order-aware reference. Tell it what happened, then ask `settle` what must follow."""

    spec: object
    states: dict = Factory(lambda self: dict.fromkeys(self.spec.declared, "notstarted"), takes_self=True)
    attempts: dict = Factory(lambda self: dict.fromkeys(self.spec.declared, 0), takes_self=True)
    used: dict = Factory(lambda self: dict.fromkeys(self.spec.declared, 0), takes_self=True)
    interruptions: dict = Factory(lambda self: dict.fromkeys(self.spec.declared, 0), takes_self=True)
    ready: dict = Factory(dict)  # task -> number of the turn in which it became ready
    started: bool = False
    ending: str | None = None
    forced: bool = False
    turn: int = 0

    def live(self):
        return [name for name, state in self.states.items() if state == "running"]

    def finished(self):
        return (self.started or self.ending) and all(state in FINAL for state in self.states.values())

    def to_end(self, name):
        """Whether a task is one that ends when the execution is told to."""
        if not self.ending:
            return False
        return self.forced or not self.started or not is_cleanup(self.spec.tasks[name])

    def succeed(self, name):
        self.states[name] = "skipped" if self.spec.tasks[name].skips else "successful"

    def cancel_attempt(self, name):
        self.states[name] = "cancelled"

    def fail(self, name):
        self.used[name] += 1
        retry = self.used[name] <= self.spec.tasks[name].retries and not self.to_end(name)
        self.states[name] = "upforretry" if retry else "failed"

    def retry_due(self, name):
        if self.states[name] == "upforretry":
            self.ready.setdefault(name, self.turn)

    def end(self, state, *, forced=False):
        if self.ending and not forced:
            return
        self.ending = self.ending or state
        self.forced = self.forced or forced
        for name in self.states:
            if self.to_end(name) and self.states[name] in {"notstarted", "upforretry"}:
                self.states[name] = "cancelled"

    def reopen(self, names):
        self.started, self.ending, self.forced, self.ready = False, None, False, {}
        for name in names:
            self.states[name] = "notstarted"
            self.used[name] = self.interruptions[name] = 0

    def crash(self):
        self.ready = {}
        self.forced = False
        for name in self.live():
            if self.spec.tasks[name].waits:
                continue
            self.interruptions[name] += 1
            if self.to_end(name):
                self.states[name] = "cancelled"
            elif self.interruptions[name] > CRASH_LIMIT:
                self.states[name] = "failed"
            elif self.spec.tasks[name].idempotent:
                self.states[name] = "upforretry"
            else:
                self.fail(name)

    def settle(self, chosen):
        """Rescan until nothing moves, then take over which tasks the machine started, if it was right to.

        Args:
            chosen: names of the tasks the machine started in this turn, in order.
        """
        self.turn += 1
        moved = self.started
        while moved:
            moved = False
            for name in self.spec.tasks:
                if self.states[name] == "notstarted" and name not in self.ready:
                    says = verdict(self.spec, name, self.states)
                    if says == "run":
                        self.ready[name] = self.turn
                    elif says == "skip":
                        self.states[name] = "skipped"
                    moved = moved or says != "wait"
        for name in [name for name in self.ready if self.states[name] in FINAL]:
            del self.ready[name]
        waits = [name for name in self.ready if self.spec.tasks[name].waits]
        assert {name for name in chosen if self.spec.tasks[name].waits} == set(waits), "a wait needs no slot"
        for name in waits:
            del self.ready[name]
            self.states[name] = "running"
            self.attempts[name] += 1
        chosen = [name for name in chosen if name not in waits]
        free = self.spec.max_active - sum(not self.spec.tasks[name].waits for name in self.live())
        assert len(chosen) == min(free, len(self.ready)), f"free {free}, ready {self.ready}, started {chosen}"
        for name in chosen:
            rank = {other: (-self.spec.tasks[other].priority, since) for other, since in self.ready.items()}
            assert rank[name] == min(rank.values()), f"{name} was started before its turn: {rank}"
            del self.ready[name]
            self.states[name] = "running"
            self.attempts[name] += 1
