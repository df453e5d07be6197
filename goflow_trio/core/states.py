"""The states of tasks and executions, and the only table that says which may follow which."""

from __future__ import annotations

from enum import StrEnum

from goflow_trio.errors import InvalidTransition


class State(StrEnum):
    """Where a task or an execution stands. The values are Goflow's words, and `cancelled`."""

    NOTSTARTED = "notstarted"
    RUNNING = "running"
    UPFORRETRY = "upforretry"
    SKIPPED = "skipped"
    FAILED = "failed"
    SUCCESSFUL = "successful"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows, unless the execution is opened again."""
        return self in FINAL


FINAL = frozenset({State.SKIPPED, State.FAILED, State.SUCCESSFUL, State.CANCELLED})

TASK_LEGAL: dict[State, frozenset[State]] = {
    State.NOTSTARTED: frozenset({State.RUNNING, State.SKIPPED, State.CANCELLED}),
    State.RUNNING: frozenset({State.SUCCESSFUL, State.FAILED, State.UPFORRETRY, State.SKIPPED, State.CANCELLED}),
    State.UPFORRETRY: frozenset({State.RUNNING, State.CANCELLED}),
    State.SKIPPED: frozenset(),
    State.FAILED: frozenset(),
    State.SUCCESSFUL: frozenset(),
    State.CANCELLED: frozenset(),
}

EXECUTION_LEGAL: dict[State, frozenset[State]] = {
    State.NOTSTARTED: frozenset({State.RUNNING, State.CANCELLED, State.FAILED}),
    State.RUNNING: frozenset({State.SUCCESSFUL, State.FAILED, State.CANCELLED}),
    State.SUCCESSFUL: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

TASK_REOPENED: dict[State, frozenset[State]] = {state: frozenset({State.NOTSTARTED}) for state in State}
"""What opening an execution again may do to a task. Only an internal error leaves one that is not final."""

EXECUTION_REOPENED: dict[State, frozenset[State]] = {state: frozenset({State.NOTSTARTED}) for state in FINAL}
"""What opening it again may do to an execution."""


def check_transition(legal: dict[State, frozenset[State]], old: State, new: State, what: str) -> None:
    """Refuse a change of state that is not in `legal`.

    Raises:
        InvalidTransition: a bug of ours; the caller adds the story.
    """
    if new not in legal[old]:
        raise InvalidTransition(f"{what} cannot go from {old} to {new}", [])
