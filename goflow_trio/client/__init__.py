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
    Durations,
    Execution,
    ExecutionDetails,
    Failure,
    Health,
    Job,
    Log,
    LogHit,
    LogHits,
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
    "Durations",
    "Event",
    "Events",
    "Execution",
    "ExecutionDetails",
    "Failure",
    "Forbidden",
    "Health",
    "Job",
    "Log",
    "LogHit",
    "LogHits",
    "Missing",
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
