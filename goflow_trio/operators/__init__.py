"""The operators that come with goflow-trio, and the protocol of those that do not.

`base` says what an operator is and calls it; `noop`, `function`, `command`, `http`, `flow` and `run_job` hold
operators; `processes`, `output` and `ulimit` serve `command`, `secrets` hides what nobody is to see. Nothing here knows
the engine: an operator sees its `TaskContext` and nothing else.
"""

from goflow_trio.operators.base import Operator
from goflow_trio.operators.command import Command
from goflow_trio.operators.flow import Approve, Branch, Sleep, WaitFor
from goflow_trio.operators.function import Function
from goflow_trio.operators.http import Get, Post, Request
from goflow_trio.operators.noop import Noop
from goflow_trio.operators.run_job import RunJob
from goflow_trio.operators.secrets import Secret
from goflow_trio.operators.ulimit import ProcessLimits

__all__ = [
    "Approve",
    "Branch",
    "Command",
    "Function",
    "Get",
    "Noop",
    "Operator",
    "Post",
    "ProcessLimits",
    "Request",
    "RunJob",
    "Secret",
    "Sleep",
    "WaitFor",
]
