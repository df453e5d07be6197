"""When a task starts or is skipped, given how its upstreams ended. Every rule is a pure function here.

A rule sees only a `Tally`, never the tasks, so that asking it costs the same for two upstreams as for 100,000. It is
asked when the execution starts and each time an upstream ends, until it says something other than `WAIT`. To add
one, write a function `Tally -> Verdict` and give it to a task: `Task(..., trigger_rule=my_rule)`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, StrEnum

from attrs import define

from goflow_trio.errors import DefinitionError


@define
class Tally:
    """How many direct upstreams of a task there are, and how many ended in which way."""

    total: int
    successful: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0

    @property
    def done(self) -> int:
        """How many ended, in whatever way."""
        return self.successful + self.failed + self.skipped + self.cancelled

    @property
    def all_done(self) -> bool:
        """Whether every upstream ended."""
        return self.done == self.total


class Verdict(Enum):
    """What a trigger rule says."""

    WAIT = "wait"
    RUN = "run"
    SKIP = "skip"


RuleFunction = Callable[[Tally], Verdict]


class TriggerRule(StrEnum):
    """The rules by name; values are the names on the wire (`allSuccessful` and `allDone` are Goflow's)."""

    ALL_SUCCESSFUL = "allSuccessful"
    ALL_DONE = "allDone"
    ALL_FAILED = "allFailed"
    ONE_SUCCESSFUL = "oneSuccessful"
    ONE_FAILED = "oneFailed"
    ONE_DONE = "oneDone"
    NONE_FAILED = "noneFailed"
    NONE_SKIPPED = "noneSkipped"
    NONE_FAILED_MIN_ONE_SUCCESSFUL = "noneFailedMinOneSuccessful"
    ALL_SKIPPED = "allSkipped"
    ALWAYS = "always"


def _when_done(tally: Tally, holds: bool) -> Verdict:
    if not tally.all_done:
        return Verdict.WAIT
    return Verdict.RUN if holds else Verdict.SKIP


def _as_soon_as(tally: Tally, count: int) -> Verdict:
    # Without upstreams there is nothing to wait for, so every rule lets a first task run.
    if count or not tally.total:
        return Verdict.RUN
    return Verdict.SKIP if tally.all_done else Verdict.WAIT


def all_successful(tally: Tally) -> Verdict:
    """Run when all upstreams were successful; skip when all ended and some were not (Goflow's default)."""
    return _when_done(tally, tally.successful == tally.total)


def all_done(tally: Tally) -> Verdict:
    """Run when all upstreams ended, however they did: for clean-up, so it runs on cancel too."""
    return _when_done(tally, holds=True)


def all_failed(tally: Tally) -> Verdict:
    """Run when all upstreams failed."""
    return _when_done(tally, tally.failed == tally.total)


def one_successful(tally: Tally) -> Verdict:
    """Run as soon as one upstream was successful."""
    return _as_soon_as(tally, tally.successful)


def one_failed(tally: Tally) -> Verdict:
    """Run as soon as one upstream failed."""
    return _as_soon_as(tally, tally.failed)


def one_done(tally: Tally) -> Verdict:
    """Run as soon as one upstream was successful or failed (a skipped one did nothing)."""
    return _as_soon_as(tally, tally.successful + tally.failed)


def none_failed(tally: Tally) -> Verdict:
    """Run when all upstreams ended and each was successful or skipped."""
    return _when_done(tally, tally.successful + tally.skipped == tally.total)


def none_skipped(tally: Tally) -> Verdict:
    """Run when all upstreams ended and none was skipped."""
    return _when_done(tally, tally.skipped == 0)


def none_failed_min_one_successful(tally: Tally) -> Verdict:
    """Run when all upstreams ended, none failed and at least one was successful: the join after a branch."""
    joined = tally.successful + tally.skipped == tally.total and (tally.successful > 0 or not tally.total)
    return _when_done(tally, joined)


def all_skipped(tally: Tally) -> Verdict:
    """Run when all upstreams were skipped."""
    return _when_done(tally, tally.skipped == tally.total)


def always(_tally: Tally) -> Verdict:
    """Run at once; the edges only draw the graph."""
    return Verdict.RUN


RULES: dict[TriggerRule, RuleFunction] = {
    TriggerRule.ALL_SUCCESSFUL: all_successful,
    TriggerRule.ALL_DONE: all_done,
    TriggerRule.ALL_FAILED: all_failed,
    TriggerRule.ONE_SUCCESSFUL: one_successful,
    TriggerRule.ONE_FAILED: one_failed,
    TriggerRule.ONE_DONE: one_done,
    TriggerRule.NONE_FAILED: none_failed,
    TriggerRule.NONE_SKIPPED: none_skipped,
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESSFUL: none_failed_min_one_successful,
    TriggerRule.ALL_SKIPPED: all_skipped,
    TriggerRule.ALWAYS: always,
}


def rule_function(rule: TriggerRule | str | RuleFunction) -> RuleFunction:
    """Return the function behind a rule given by name, wire name or as the function itself.

    Raises:
        DefinitionError: no rule has this name.
    """
    if isinstance(rule, str):
        try:
            return RULES[TriggerRule(rule)]
        except ValueError:
            known = ", ".join(RULES)
            raise DefinitionError(f"unknown trigger rule {rule!r}; the rules are {known}") from None
    if not callable(rule):
        raise DefinitionError(f"a trigger rule is a name or a function of a Tally, got {type(rule).__name__}")
    return rule


def rule_name(rule: TriggerRule | str | RuleFunction) -> str:
    """Return the name a rule is shown and stored under: its wire name, or the name of the user's function."""
    if isinstance(rule, str):
        return str(TriggerRule(rule))
    return getattr(rule, "__name__", type(rule).__name__)
