"""Who may do what: the ASGI layer in front of every route, and what it decides by.

A request is let through or refused before anything is routed, so a route that is added later is protected without
having heard of this: without a token of the file there is only `/api/health`, signing in, and the webhooks of jobs,
which ask for a token of their own. In the order of the checks: size, Host, CORS preflight, Origin, token or session,
role, body. `layer` does that; each other file here is one of the checks and knows nothing of ASGI, except `answers`,
which says no, and `routes`, where a browser signs in.
"""

from goflow_trio.web.guard.audit import tell_audit
from goflow_trio.web.guard.caller import Caller
from goflow_trio.web.guard.layer import Guard, caller_of
from goflow_trio.web.guard.settings import Security
from goflow_trio.web.guard.tokens import Role

__all__ = ["Caller", "Guard", "Role", "Security", "caller_of", "tell_audit"]
