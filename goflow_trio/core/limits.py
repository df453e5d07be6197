"""Every bound of the system, in one table. What exceeds one is refused or visibly cut, never lost in silence."""

from __future__ import annotations

from typing import Final

TASKS_PER_JOB: Final = 200_000
"""Tasks one job may have."""

TASK_NAMES_CHARS: Final = 2_000_000
"""Length of all task names of a job together: they are part of each execution's first event."""

ACTIVE_TASKS_PER_EXECUTION: Final = 1_000
"""Tasks of one execution that run at once, unless its job says otherwise."""

ACTIVE_TASKS: Final = 1_000
"""Tasks of an engine that run at once, unless it is opened with another number."""

ACTIVE_EXECUTIONS: Final = 10_000
"""Executions in flight in one engine, waiting ones included; a further submit is refused."""

CRASH_LIMIT: Final = 3
"""How often one task may be cut by a crash before it is held to be the cause."""

OPERATOR_THREADS: Final = 64
"""Worker threads for synchronous operators; the store has a thread of its own."""

EXECUTOR_CLOSE_SECONDS: Final = 15.0
"""Seconds that closing an executor may take at the engine's end."""

CONDITION_THREADS: Final = 32
"""Worker threads for synchronous conditions of `WaitFor`, which hold no slot."""

HOOK_SECONDS: Final = 60.0
"""How long one hook (`on_success`, `on_failure`) may take; the execution counts as over after it."""

RESULT_BYTES: Final = 64 * 1024
"""Largest kept result, encoded; beyond it a placeholder is kept."""

MAP_ITEMS: Final = 10_000
"""Items that one task may be mapped over."""

MAP_BYTES: Final = 1024 * 1024
"""These items together, encoded."""

RESOURCE_SECONDS: Final = 10.0
"""How long closing the resources of an execution may take."""

PARAMS_BYTES: Final = 64 * 1024
"""Largest parameters of one execution, encoded."""

ERROR_CHARS: Final = 4_000
"""Longest kept error message."""

TRACEBACK_CHARS: Final = 16_000
"""Longest kept traceback; its end is kept."""

OUTPUT_HEAD_BYTES: Final = 1024 * 1024
"""How much of the beginning of an attempt's output is kept."""

OUTPUT_TAIL_BYTES: Final = 1024 * 1024
"""How much of the end of an attempt's output is kept, at least; up to one block more."""

OUTPUT_BLOCK_BYTES: Final = 64 * 1024
"""Size of the blocks that output is kept in."""

OUTPUT_BLOCK_PIECES: Final = 1024
"""Pieces (changes of stream or time) in one block; a block of many tiny pieces is full before its bytes are."""

OUTPUT_BLOCKS: Final = 32
"""Blocks of the beginning, and of the end; 16 are enough unless they are full of tiny pieces."""

OUTPUT_EVENT_BYTES: Final = 8 * 1024
"""Output that one live event carries; of a flood, the rest is left out and can be read by its offset."""

OUTPUT_UNSAVED_BYTES: Final = 64 * 1024 * 1024
"""Output of finished attempts that waits in memory for a store that does not take writes; the oldest is given up."""

FEED_EVENTS: Final = 20_000
"""Events the feed holds in memory; a reader that falls further behind reads the store's log."""

FEED_OUTPUT_CHARS: Final = 16_000_000
"""Output in those events; past it, the older half of the events is only in the log."""

SUBSCRIBERS: Final = 1_000
"""Subscriptions open at once."""

LOG_EVENTS: Final = 200_000
"""Events kept in the store's log for readers that come back."""

CHECKPOINT_EVENTS: Final = 5_000
"""Events between two checkpoints: the most a restart has to fold."""

SAVE_EVENTS: Final = 1_000
"""Events after which what finished is saved apart from the log: few requests to the store for each execution."""

SEGMENT_EVENTS: Final = 5_000
"""Events in one segment of the log, at most."""

SEGMENT_BYTES: Final = 4 * 1024 * 1024
"""Size at which the events of one flush are split into several segments, and a snapshot into parts."""

RETENTION_DAYS: Final = 90
"""Days that finished executions are kept, unless their job says otherwise with `retention=` …"""

RETENTION_COUNT: Final = 100_000
"""… and how many of them of each job."""

PRUNE_STEP: Final = 100
"""Executions removed in one step; the log is written in between."""

PRUNE_SCAN: Final = 1_000
"""Keys looked at, or removed, in one operation of that."""

SWEEP_SECONDS: Final = 24 * 3600.0
"""How often the store is looked through for executions that have become too old …"""

SWEEP_EXECUTIONS: Final = 5_000
"""… or after so many that finished."""

CACHED_EXECUTIONS: Final = 2_000
"""Finished executions kept in memory for reads …"""

CACHED_TASKS: Final = 200_000
"""… and tasks of these together."""

LIST_EXECUTIONS: Final = 1_000
"""Executions one listing answers with, at most."""

BODY_BYTES: Final = 1024 * 1024
"""Largest body of a request."""

BATCH: Final = 1_000
"""Executions one request may submit."""

JSON_DEPTH: Final = 64
"""How deep the JSON in a request may be nested."""

SUBMIT_SECONDS: Final = 10.0
"""How long a submit waits for a store that works, and has much to do, before it is refused."""

REFUSAL_SECONDS: Final = 1.5
"""How long a submit waits for a store that does not work before it is refused."""

STORE_SECONDS: Final = 3.0
"""How long one operation of the store may take before it is held to have failed; its outcome is unknown then."""

STORE_BYTES_PER_SECOND: Final = 500_000
"""An operation that writes more gets more time: its size divided by this."""

STALLED_SECONDS: Final = 1.0
"""How long one operation of the store may take before submits are refused meanwhile."""

STORE_RETRY_SECONDS: Final = 0.1
"""Wait before a failed operation of the store is repeated; it doubles each time …"""

STORE_RETRY_MOST_SECONDS: Final = 1.0
"""… up to this: so long after the store is back it is noticed at the latest."""

LEASE_SECONDS: Final = 30.0
"""How long an engine holds its store after it last said so."""

LEASE_RENEWAL_SECONDS: Final = 10.0
"""How often it says so."""

EPOCHS: Final = 1_000
"""Starts of which the store remembers who it was; one that slept through more takeovers than that is not kept out."""

DAMAGED_RECORDS: Final = 1_000
"""Damaged records of the store that are named; further ones are only counted."""

MISSED_INSTANTS: Final = 100
"""Instants made up for at most with `misfire="all"`; older ones are recorded as missed."""

QUEUED_EXECUTIONS: Final = 100
"""Executions of one job that wait with `overlap="queue"`; what is due beyond them is recorded as missed."""

# The network ---------------------------------------------------------------------------------------

CONNECTIONS: Final = 4_000
"""Connections open at once; a further one is answered 503. Never more than the process may open files."""

CONNECTIONS_PER_ADDRESS: Final = 256
"""Connections of one address; loopback is left out, because a reverse proxy on the same machine is one address."""

IDLE_SECONDS: Final = 15.0
"""How long a connection may stay without a request."""

HEADER_SECONDS: Final = 5.0
"""How long the first line and the headers of a request may take, from their first byte."""

BODY_SECONDS: Final = 10.0
"""How long the body of a request may take."""

SEND_SECONDS: Final = 20.0
"""How long a reader may take nothing of what is sent to it."""

URL_BYTES: Final = 8 * 1024
"""Longest path and query of a request."""

HEADER_BYTES: Final = 16 * 1024
"""Size of all headers of a request together."""

HEADERS: Final = 100
"""Headers one request may have."""

MESSAGE_BYTES: Final = 64 * 1024
"""Largest WebSocket message a client may send."""

SESSIONS: Final = 1_000
"""Browsers signed in at once; the oldest is signed out for a further one."""

SESSION_SECONDS: Final = 12 * 3600.0
"""How long a browser stays signed in."""

WRONG_TOKENS: Final = 50
"""Wrong tokens an address may show in a burst before it is told to wait; it gets one more each second."""

REVOKED_SECONDS: Final = 5.0
"""How often open streams are checked for tokens that were revoked or have expired."""

BACKFILL_INSTANTS: Final = 10_000
"""Instants of one backfill; a larger range is refused."""

KEPT_BACKFILLS: Final = 100
"""Backfills that are over and still listed."""

SUBMITS_AT_ONCE: Final = 100
"""Scheduled executions that are submitted at once; a crowd of one instant becomes durable part by part."""

WATCHED_FILES: Final = 1_000
"""Files that one watch of a job looks at; more wait until some of them are gone."""
