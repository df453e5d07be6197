"""A client of a running server: `async with open_client(url) as client: …`.

Everything the API does, typed, on httpx2; the event feed on trio-websocket, resumed by itself. What goes wrong is one
of the errors here, each a `GoflowError`.
"""

from goflow_trio.client.asking import ClientError, Forbidden, Missing, Refused, Unauthorized, Unavailable, Unreachable
from goflow_trio.client.client import Client, Submission, open_client
from goflow_trio.client.events import Event, Events
from goflow_trio.client.records import (
    Approval,
    Attempt,
    Backfill,
    Draining,
    Durations,
    Execution,
    ExecutionDetails,
    Failure,
    Health,
    Job,
    Limit,
    Log,
    LogHit,
    LogHits,
    Ready,
    Receipt,
    Schedule,
    Session,
    Stats,
    Submitted,
    Task,
    TaskDetails,
    TaskStats,
    Wait,
)

__all__ = [
    "Approval",
    "Attempt",
    "Backfill",
    "Client",
    "ClientError",
    "Draining",
    "Durations",
    "Event",
    "Events",
    "Execution",
    "ExecutionDetails",
    "Failure",
    "Forbidden",
    "Health",
    "Job",
    "Limit",
    "Log",
    "LogHit",
    "LogHits",
    "Missing",
    "Ready",
    "Receipt",
    "Refused",
    "Schedule",
    "Session",
    "Stats",
    "Submission",
    "Submitted",
    "Task",
    "TaskDetails",
    "TaskStats",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "Wait",
    "open_client",
]
