"""goflow-trio: a small, durable DAG scheduler on trio.

The layers, top to bottom; imports point down only:

    cli, goflow          command line; the Goflow facade
    web                  HTTP API, streams, pages
    actors               engine, supervisor, task actor, store actor, scheduler, feed
    executors            extension point: where tasks run
    operators, stores    extension points: what tasks do, where bytes go
    codec                events and records to bytes
    core                 pure: states, messages, machine, record
    jobs, schedules      pure: what a user writes, and when it is due
    errors               who can mend what
"""

from goflow_trio.actors.engine import Engine
from goflow_trio.actors.execution import CancelReceipt, Execution
from goflow_trio.actors.opening import open_engine
from goflow_trio.actors.waiting import Waiting
from goflow_trio.core.output import OutputPiece, OutputSlice
from goflow_trio.core.record import AttemptRecord, ExecutionRecord, TaskRecord
from goflow_trio.core.states import State
from goflow_trio.errors import (
    DefinitionError,
    GiveUp,
    GoflowError,
    NotFound,
    ParamsError,
    Skip,
    StoreError,
    UsageError,
    WrongState,
)
from goflow_trio.executors import Dask, Executor, Futures, Process, Thread
from goflow_trio.goflow import Goflow
from goflow_trio.jobs.context import TaskContext
from goflow_trio.jobs.job import Job
from goflow_trio.jobs.retention import Retention
from goflow_trio.jobs.retry import ConstantDelay, ExponentialBackoff
from goflow_trio.jobs.task import Task
from goflow_trio.jobs.trigger_rules import Tally, TriggerRule, Verdict
from goflow_trio.jobs.watch import FileWatch
from goflow_trio.operators import (
    Approve,
    Branch,
    Command,
    Function,
    Get,
    Noop,
    Operator,
    Post,
    ProcessLimits,
    Request,
    RunJob,
    Secret,
    Sleep,
    WaitFor,
)
from goflow_trio.web.guard.settings import Security

__version__ = "0.1.0"

__all__ = [
    "Approve",
    "AttemptRecord",
    "Branch",
    "CancelReceipt",
    "Command",
    "ConstantDelay",
    "Dask",
    "DefinitionError",
    "Engine",
    "Execution",
    "ExecutionRecord",
    "Executor",
    "ExponentialBackoff",
    "FileWatch",
    "Function",
    "Futures",
    "Get",
    "GiveUp",
    "Goflow",
    "GoflowError",
    "Job",
    "Noop",
    "NotFound",
    "Operator",
    "OutputPiece",
    "OutputSlice",
    "ParamsError",
    "Post",
    "Process",
    "ProcessLimits",
    "Request",
    "Retention",
    "RunJob",
    "Secret",
    "Security",
    "Skip",
    "Sleep",
    "State",
    "StoreError",
    "Tally",
    "Task",
    "TaskContext",
    "TaskRecord",
    "Thread",
    "TriggerRule",
    "UsageError",
    "Verdict",
    "WaitFor",
    "Waiting",
    "WrongState",
    "open_engine",
]
