"""Who calls, as far as it is known."""

from __future__ import annotations

from attrs import frozen

from goflow_trio.web.guard.tokens import Role, Token


@frozen
class Caller:
    """Who calls.

    Args:
        name: as the token file or the host has it; empty where nobody is asked who they are.
        role: what it may do.
        token: what it showed; None if it showed none.
        session: the cookie, if it came by one of ours.
    """

    name: str
    role: Role
    token: Token | None = None
    session: str | None = None


ANYBODY = Caller("", Role.OPERATE)
"""Who calls a server without tokens."""

UNPROVEN = Caller("", Role.READ)
"""Who calls where the guard leaves it to others to ask: a webhook, or where a host signs people in."""
