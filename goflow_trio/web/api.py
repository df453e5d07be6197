"""The REST routes: Goflow's with their shapes, and ours. Thin: read the request, ask the engine, write the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from quart import Blueprint, Response, request

from goflow_trio.actors.engine import Engine
from goflow_trio.core import limits
from goflow_trio.errors import UnknownExecution, UnknownJob, UsageError
from goflow_trio.web import wire

_INSTANTS_MOST = 1000


def answer(body: Any, status: int = 200) -> Response:
    """Return JSON with Goflow's content type."""
    return Response(wire.encode(body), status, content_type="application/json; charset=utf-8")


def make_api(engine: Callable[[], Engine]) -> Blueprint:
    """Return the routes under `/api/` that are no streams."""
    api = Blueprint("api", __name__, url_prefix="/api")

    @api.get("/health")
    async def health() -> Response:
        problem = engine().problem
        return answer({"health": "OK"} if problem is None else {"health": "degraded", "cause": problem})

    @api.get("/ready")
    async def ready() -> Response:
        problem = engine().problem
        return answer({"ready": problem is None, "cause": problem}, 200 if problem is None else 503)

    @api.get("/jobs")
    async def jobs() -> Response:
        return answer({"jobs": list(engine().jobs)})

    @api.get("/jobs/<job>")
    async def job_details(job: str) -> Response:
        definition = engine().jobs.get(job)
        if definition is None:
            return answer(wire.UNKNOWN_JOB, 404)
        return answer(wire.job_details(definition, active=engine().is_active(job)))

    @api.get("/jobs/<job>/next")
    async def upcoming(job: str) -> Response:
        instants = engine().upcoming(job, whole_number("n", 10, _INSTANTS_MOST))
        return answer({"job": job, "active": engine().is_active(job), "next": instants})

    @api.post("/jobs/<job>/submit")
    async def submit(job: str) -> Response:
        params = read_params(await request.get_data())
        key = request.headers.get("Idempotency-Key")
        try:
            execution = await engine().submit(job, params, idempotency_key=key)
        except UnknownJob:
            return answer({"job": job, "success": False, "submitted": ""}, 404)
        submitted = wire.timestamp(execution.record.submitted)
        return answer({"job": job, "success": True, "submitted": submitted, "id": execution.id})

    @api.post("/jobs/<job>/toggle")
    async def toggle(job: str) -> Response:
        try:
            active = await engine().toggle(job)
        except UnknownJob:
            return answer({"job": job, "success": False, "active": False}, 404)
        return answer({"job": job, "success": True, "active": active})

    @api.get("/executions")
    async def executions() -> Response:
        limit = whole_number("limit", limits.LIST_EXECUTIONS, limits.LIST_EXECUTIONS)
        records = await engine().newest(
            request.args.get("jobname") or None,
            request.args.get("state") or None,
            limit,
            request.args.get("cursor") or None,
        )
        body: dict[str, Any] = {"executions": [wire.execution(record) for record in records]}
        if "limit" in request.args:
            body["next"] = records[-1].id if len(records) == limit else None
        return answer(body)

    @api.get("/jobruns")
    async def job_runs() -> Response:
        records = await engine().newest(request.args.get("jobname") or None, request.args.get("state") or None)
        return answer({"jobruns": [wire.job_run(record) for record in records]})

    @api.get("/executions/<execution_id>")
    async def execution(execution_id: str) -> Response:
        record = await engine().find(execution_id)
        if record is None:
            raise UnknownExecution(f"no execution has the id {execution_id!r}")
        return answer(wire.execution_details(record))

    @api.post("/executions/<execution_id>/cancel")
    async def cancel(execution_id: str) -> Response:
        receipt = await engine().cancel(execution_id, "cancelled over the API")
        return answer({"tasks": receipt.tasks, "seconds": round(receipt.seconds, 6)})

    return api


def read_params(data: str | bytes) -> dict[str, Any] | None:
    """Return the parameters in the body of a submit; an empty body has none.

    Raises:
        UsageError: it is no JSON object with `params`.
    """
    if not data.strip():
        return None
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f'the body is no JSON: {error}; send {{"params": {{…}}}} or nothing') from None
    if not isinstance(body, dict):
        raise UsageError('the body must be a JSON object such as {"params": {}}, or empty')
    unknown = sorted(set(body) - {"params"})
    if unknown:
        raise UsageError(f"the body has an unknown field {unknown[0]!r}; known is: params")
    params = body.get("params")
    if params is not None and not isinstance(params, dict):
        raise UsageError("params must be a JSON object")
    return params


def whole_number(name: str, default: int, most: int) -> int:
    """Return a number from the query.

    Raises:
        UsageError: it is no whole number from 1 to `most`.
    """
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):  # noqa: PLR2004
        raise UsageError(f"{name} must be a whole number from 1 to {most}, got {text!r}")
    return int(text)
