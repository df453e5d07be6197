"""The webhook of a job: whoever has the job's own token may run this job, and nothing else.

The guard lets these requests through without a token of the server and without asking who calls, so it is here that the
token is asked for. What is wrong with it is not told: a job that is not there answers as one with another token.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from msgspec import Meta
from quart import request

from goflow_trio.actors.engine import Engine
from goflow_trio.errors import UnknownJob
from goflow_trio.web import shapes, wire
from goflow_trio.web.guard.callers import Callers
from goflow_trio.web.guard.layer import CALLERS
from goflow_trio.web.guard.rules import Refused
from goflow_trio.web.openapi import HOOK_TOKEN
from goflow_trio.web.routes import Headers, Routes

routes = Routes("webhooks")

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="webhook"'}


class HookHeaders(Headers):
    """How a webhook can be called again safely."""

    idempotency_key: Annotated[
        str | None, Meta(description="calls of one job with equal keys are one execution, whenever they come")
    ] = None


@routes.post("/api/jobs/{job}/hook", role="hook", errors=[410, 422], lenient=True)
async def run_by_webhook(
    engine: Engine, job: str, headers: HookHeaders, body: dict[str, Any] | None
) -> shapes.Submitted:
    """Run a job for who has its own token, that of `Job(webhook=…)`.

    The token comes in `X-Hook-Token`, or as a bearer token. The body, if there is one, is the parameters: whoever calls
    a webhook often cannot choose how what they send is wrapped. A wrong token, a job without a webhook and no such job
    are one and the same 401. A 2xx means that the execution is durable.
    """
    token = _token()
    if not token:
        raise Refused(
            HTTPStatus.UNAUTHORIZED, f"a webhook needs the token of its job: send it as `{HOOK_TOKEN}: …`", _CHALLENGE
        )
    try:
        execution = await engine.submit_by_hook(job, token, body, idempotency_key=headers.idempotency_key)
    except UnknownJob:
        _count_wrong()
        raise Refused(
            HTTPStatus.UNAUTHORIZED, "no job of this name has a webhook with this token", _CHALLENGE
        ) from None
    return wire.submitted(execution.record)


def _token() -> str:
    given = request.headers.get(HOOK_TOKEN, "").strip()
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    return given or (bearer.strip() if scheme.lower() == "bearer" else "")


def _count_wrong() -> None:
    """Count a wrong token as the guard counts those that it sees itself.

    Raises:
        Refused: 429, where too many came from the caller's address.
    """
    callers = request.scope.get(CALLERS)
    if isinstance(callers, Callers):
        callers.count_wrong(str((request.scope.get("client") or ("",))[0]))
