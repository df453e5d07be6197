"""Commands that ask a running server: `jobs`, `executions`, `submit`, `toggle`, `cancel`."""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from urllib.parse import quote

import click

from goflow_trio.cli.options import json_option, params_option, read_params, url_option
from goflow_trio.core.states import FINAL, State
from goflow_trio.errors import GoflowError

_POLL_SECONDS = 0.2
_TIMEOUT_SECONDS = 30


def _call(url: str, method: str, path: str, **options: Any) -> Any:
    """Return the JSON a server answers with.

    Raises:
        GoflowError: it cannot be reached, or refuses.
    """
    import httpx2  # noqa: PLC0415  # 0.1 s that other commands need not pay

    try:
        answer = httpx2.request(method, url.rstrip("/") + path, timeout=_TIMEOUT_SECONDS, **options)
        body = answer.json()
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise GoflowError(f"no server answers at {url} ({error}); start one with goflow-trio serve") from None
    except ValueError:
        raise GoflowError(f"{url} is no goflow server: {method} {path} answered {answer.status_code}") from None
    if answer.is_success:
        return body
    detail = body.get("detail") if isinstance(body, dict) else None
    raise GoflowError(detail or f"{method} {path} answered {answer.status_code}: not found")


def _print(body: Any, lines: list[str], *, as_json: bool) -> None:
    click.echo(json.dumps(body, ensure_ascii=False) if as_json else "\n".join(lines))


@click.command()
@url_option
@json_option
def jobs(url: str, as_json: bool) -> None:
    """List the jobs of a running server."""
    body = _call(url, "GET", "/api/jobs")
    details = [_call(url, "GET", f"/api/jobs/{quote(name, safe='')}") for name in body["jobs"]]
    lines = [
        f"{job['job']}  {len(job['tasks'])} tasks  {job['schedule'] or 'no schedule'}"
        f"{'' if not job['schedule'] else '  on' if job['active'] else '  off'}"
        for job in details
    ]
    _print(details, lines or ["no jobs"], as_json=as_json)


@click.command()
@click.option("--job", help="Only executions of this job.")
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Only executions in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@url_option
@json_option
def executions(job: str | None, state: str | None, limit: int, url: str, as_json: bool) -> None:
    """List executions, the newest first."""
    query = {"limit": str(limit), "jobname": job or "", "state": state or ""}
    body = _call(url, "GET", "/api/executions", params=query)
    lines = [
        f"{item['id']}  {item['job']}  {item['state']}  {item['submitted']}  {item['reason']}".rstrip()
        for item in body["executions"]
    ]
    _print(body, lines or ["no executions"], as_json=as_json)


@click.command()
@click.argument("job")
@params_option
@click.option("--wait", is_flag=True, help="Wait for its end; exit with 1 unless it is successful.")
@click.option("--idempotency-key", help="Submits with equal keys are one execution.")
@url_option
@json_option
def submit(job: str, params: tuple[str, ...], wait: bool, idempotency_key: str | None, url: str, as_json: bool) -> None:
    """Submit JOB and print the id of its execution."""
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    payload = {"params": read_params(params)}
    body = _call(url, "POST", f"/api/jobs/{quote(job, safe='')}/submit", json=payload, headers=headers)
    if not wait:
        _print(body, [body["id"]], as_json=as_json)
        return
    while (record := _call(url, "GET", f"/api/executions/{body['id']}"))["state"] not in FINAL:
        time.sleep(_POLL_SECONDS)
    _print(record, [f"{record['id']}  {record['state']}  {record['reason']}".rstrip()], as_json=as_json)
    sys.exit(0 if record["state"] == State.SUCCESSFUL else 1)


@click.command()
@click.argument("job")
@url_option
@json_option
def toggle(job: str, url: str, as_json: bool) -> None:
    """Switch the schedule of JOB on or off."""
    body = _call(url, "POST", f"/api/jobs/{quote(job, safe='')}/toggle")
    _print(body, [f"{job} is {'on' if body['active'] else 'off'}"], as_json=as_json)


@click.command()
@click.argument("execution")
@url_option
@json_option
def cancel(execution: str, url: str, as_json: bool) -> None:
    """Cancel EXECUTION (an id) and wait until nothing of it is left running."""
    body = _call(url, "POST", f"/api/executions/{quote(execution, safe='')}/cancel")
    _print(body, [f"ended {body['tasks']} tasks in {body['seconds']:.3f} s"], as_json=as_json)
